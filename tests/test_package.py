"""What is released: the wheel holds the package and nothing else, and the sdist what a reader needs to check it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import kexue

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "kexue"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return folder


def test_the_wheel_is_the_package(built):
    (path,) = built.glob("*.whl")
    assert path.name == f"kexue-{kexue.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = Parser().parsestr(
            wheel.read(f"kexue-{kexue.__version__}.dist-info/METADATA").decode("utf-8"), headersonly=False
        )
        entry = wheel.read(f"kexue-{kexue.__version__}.dist-info/entry_points.txt").decode("utf-8")
        licences = [name for name in wheel.namelist() if "/licenses/" in name]
    tracked = {
        f"kexue/{file.relative_to(SOURCE).as_posix()}"
        for file in SOURCE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == tracked
    assert {"kexue/py.typed", "kexue/runs/catalogue.toml", "kexue/data/sets.toml"} <= names
    assert "kexue = kexue.cli:main" in entry
    assert {Path(name).name for name in licences} == {"LICENSE", "NOTICE"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload().startswith("Unofficial PyTorch parts")
    assert path.stat().st_size < 3_000_000


def test_the_sdist_can_be_checked(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "constraints.txt", "Makefile", "README.md", "CONTRIBUTING.md"} <= names
    assert {"docs/conf.py", "docs/index.md", "tests/conftest.py", "benchmarks/RESULTS.md"} <= names
    assert not any(name.startswith((".venv", "runs/", "gallery/", "docs/_build", ".ci")) for name in names)
    assert not any("__pycache__" in name for name in names)
