"""What is not installed is said in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kexue.extras import MissingExtraError, missing_extras, require


@pytest.mark.parametrize(
    ("absent", "statement", "line"),
    [
        (
            "torch",
            "import kexue.probability.entropy",
            'kexue.probability.entropy needs torch: pip install "kexue[torch]"',
        ),
        (
            "torch",
            "import kexue.probability.maxent",
            'kexue.probability.maxent needs torch: pip install "kexue[torch]"',
        ),
        ("sklearn", "import kexue.estimators", 'kexue.estimators needs sklearn: pip install "kexue[estimators]"'),
        (
            "sklearn",
            "from kexue.data import digits; digits()",
            'the digits needs sklearn: pip install "kexue[estimators]"',
        ),
        ("matplotlib", "import kexue; kexue.plots.panels()", 'a figure needs matplotlib: pip install "kexue[report]"'),
    ],
)
def test_the_last_line_says_what_to_install(absent, statement, line):
    block = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
{statement}
"""
    outcome = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, encoding="utf-8")
    assert outcome.returncode == 1
    assert outcome.stderr.strip().splitlines()[-1].endswith(f"MissingExtraError: {line}")


def test_array_functions_do_without_torch():
    code = "import sys; sys.modules['torch'] = None\n"
    code += "from kexue.probability.knn import knn_entropy_numpy\n"
    code += "print(round(knn_entropy_numpy([[0.0], [1.0], [3.0]], 1), 6))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert float(outcome.stdout) == pytest.approx(2.424195, abs=1e-6)


def test_a_package_that_is_broken_is_another_story(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_module_at_all", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all") as caught:
        require("broken_package", "report", "a test")
    assert not isinstance(caught.value, MissingExtraError)


def test_unknown_extras_are_told():
    with pytest.raises(ValueError, match=r"extras must be among .*'torch'.*got \['troch'\]"):
        missing_extras(["torch", "troch"])
