"""The measuring of the benchmarks, with clocks that only move when a contestant says so."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks.{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


compare = load("compare")


class Clock:
    """Time that passes only inside :meth:`spend`: as CPU time, and twice as long on the wall."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def spend(self, label: str, *seconds: float) -> Callable[[], None]:
        """A contestant that takes the given times in turn, the last one from then on."""
        left = list(seconds)

        def run() -> None:
            self.calls.append(label)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def measure(self, case: dict[str, Any], **options: Any) -> list[Any]:
        return compare.measure(
            compare.Case.from_dict(case), cpu_clock=lambda: self.now, wall_clock=lambda: 2 * self.now, **options
        )


def a_case(**changes: Any) -> dict[str, Any]:
    case = {"name": "room: part", "scale": "n=3", "target": "<= 2x", "ours": int, "peers": {"loop": int}}
    return {key: value for key, value in (case | changes).items() if value is not None}


class TestRatios:
    def test_at_most(self) -> None:
        clock = Clock()
        (row,) = clock.measure(a_case(ours=clock.spend("ours", 3.0), peers={"loop": clock.spend("loop", 2.0)}))
        assert (row.cpu.median, row.wall.median, row.met) == (1.5, 1.5, True)
        assert row.seconds == {"ours": 3.0, "peer": 2.0}

    def test_at_least(self) -> None:
        clock = Clock()
        case = a_case(target=">= 4x", ours=clock.spend("ours", 1.0), peers={"loop": clock.spend("loop", 3.0)})
        (row,) = clock.measure(case)
        assert (row.cpu.median, row.met) == (3.0, False)

    def test_work_is_counted(self) -> None:
        clock = Clock()
        case = a_case(
            target=">= 10x",
            ours=clock.spend("ours", 4.0),
            peers={"loop": clock.spend("loop", 2.0)},
            work={"ours": 1000, "loop": 10},
        )
        (row,) = clock.measure(case)
        assert row.cpu.median == pytest.approx((2.0 / 10) / (4.0 / 1000))

    def test_each_peer_has_a_row_and_may_have_a_target(self) -> None:
        clock = Clock()
        peers = {"a": clock.spend("a", 1.0), "b": {"run": clock.spend("b", 8.0), "target": ">= 3x"}}
        first, second = clock.measure(a_case(ours=clock.spend("ours", 2.0), peers=peers))
        assert (first.peer, str(first.target), first.cpu.median) == ("a", "<= 2x", 2.0)
        assert (second.peer, str(second.target), second.cpu.median) == ("b", ">= 3x", 4.0)

    def test_a_peer_may_be_called_ours(self) -> None:
        clock = Clock()
        (row,) = clock.measure(a_case(ours=clock.spend("x", 2.0), peers={"ours": clock.spend("y", 1.0)}))
        assert row.cpu.median == 2.0

    def test_median_and_quartiles_of_the_rounds(self) -> None:
        clock = Clock()
        # One call to warm up and one to see how long it lasts come before the rounds.
        ours = clock.spend("ours", 9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 50.0)
        (row,) = clock.measure(a_case(ours=ours, peers={"loop": clock.spend("loop", 1.0)}), rounds=5)
        assert (row.cpu.low, row.cpu.median, row.cpu.high) == (2.0, 3.0, 4.0)
        (single,) = clock.measure(a_case(ours=ours, peers={"loop": clock.spend("loop", 1.0)}), rounds=1)
        assert single.cpu.low == single.cpu.median == single.cpu.high == 50.0

    def test_the_clock_that_decides(self) -> None:
        cpu, wall = compare.Summary(0.5, 0.5, 0.5), compare.Summary(2.0, 2.0, 2.0)
        row = compare.Row("p", "s", "q", compare.Target("<=", 1.0), "CPU", 1, cpu, wall)
        assert row.met is True
        assert dataclasses.replace(row, threads=2).met is False
        assert dataclasses.replace(row, device="GPU").met is False

    def test_a_clock_that_stands_still(self) -> None:
        clock = Clock()
        (row,) = clock.measure(a_case(ours=clock.spend("ours", 0.0), peers={"loop": clock.spend("loop", 0.0)}))
        assert row.cpu.median == 1.0


class TestRounds:
    def test_interleaved_in_an_order_that_rotates(self) -> None:
        clock = Clock()
        peers = {label: clock.spend(label, 1.0) for label in "ab"}
        clock.measure(a_case(ours=clock.spend("o", 1.0), peers=peers), rounds=3)
        assert "".join(clock.calls) == "oab" + "oab" + "oab" + "abo" + "boa"

    def test_quick_calls_are_repeated(self) -> None:
        clock = Clock()
        quick = clock.spend("q", 0.003)
        (row,) = clock.measure(a_case(ours=quick, peers={"loop": clock.spend("s", 1.0)}), rounds=2)
        assert clock.calls.count("q") == 2 + 2 * 2  # a call lasts 6 ms on the wall, and 10 ms are wanted
        assert clock.calls.count("s") == 2 + 2
        assert row.cpu.median == pytest.approx(0.003)

    def test_without_garbage_collection(self) -> None:
        states: list[bool] = []
        compare.measure(compare.Case.from_dict(a_case(ours=lambda: states.append(gc.isenabled()))), rounds=1)
        assert states[:2] == [True, True]
        assert set(states[2:]) == {False}
        assert gc.isenabled()

    def test_collection_comes_back_after_a_failure(self) -> None:
        calls = iter([None, None])
        with pytest.raises(StopIteration):
            compare.measure(compare.Case.from_dict(a_case(ours=lambda: next(calls))), rounds=1)
        assert gc.isenabled()

    def test_rounds_are_positive(self) -> None:
        with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
            compare.measure(compare.Case.from_dict(a_case()), rounds=0)


class TestMissing:
    @staticmethod
    def missing() -> None:
        import a_module_that_nobody_has  # noqa: F401

    def test_peer(self) -> None:
        clock = Clock()
        case = a_case(ours=clock.spend("ours", 1.0), peers={"gone": self.missing, "loop": clock.spend("loop", 1.0)})
        gone, loop = clock.measure(case)
        assert gone.met is None
        assert gone.cells()[3:7] == (*['not measured: pip install "kexue[bench]"'] * 2, "<= 2x", "—")
        assert loop.cpu.median == 1.0

    def test_ours(self) -> None:
        (row,) = compare.measure(compare.Case.from_dict(a_case(ours=self.missing)))
        assert row.cpu is None


class TestBadCases:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"name": None}, r"case '\(without a name\)': missing name"),
            ({"ours": None, "target": None}, "case 'room: part': missing ours, target"),
            ({"peer": {}}, "unknown peer; known are device, name, ours, peers, scale, target, work"),
            ({"scale": 3}, "scale must be a text, got 3"),
            ({"target": "< 2x"}, "target must read like '<= 1.3x' or '>= 100x', got '< 2x'"),
            ({"target": 2.0}, r"target must read like .* got 2\.0"),
            ({"ours": 3}, "ours must be callable, got 3"),
            ({"peers": {}}, "peers must map labels to what is called"),
            ({"peers": [int]}, "peers must map labels to what is called"),
            ({"peers": {"loop": 3}}, "peer 'loop' must be callable or have 'run' and 'target', got 3"),
            ({"peers": {"loop": {"call": int}}}, "peer 'loop' must be callable or have 'run' and 'target'"),
            ({"peers": {"loop": {"run": int, "target": "fast"}}}, "target must read like .* got 'fast'"),
            ({"work": {"other": 3}}, "work names other, which is neither 'ours' nor a peer"),
            ({"work": {"ours": 0}}, "work of 'ours' must be a positive number, got 0"),
        ],
    )
    def test_message(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            compare.Case.from_dict(a_case(**changes))


class TestTable:
    @staticmethod
    def row(part: str, peer: str, ratio: float | None = 1.0, **changes: Any) -> Any:
        summary = None if ratio is None else compare.Summary(ratio, ratio, ratio)
        row = compare.Row(part, "n=3", peer, compare.Target("<=", 2.0), "CPU", 1, summary, summary)
        return dataclasses.replace(row, **changes)

    @staticmethod
    def written(*tables: list[Any]) -> str:
        text = ""
        for rows in tables:
            text = compare.markdown(
                compare.merge(text, rows), date="2000-01-01", machine="a processor", versions={"Python": "3.11.0"}
            )
        return text

    def test_only_measured_rows_are_replaced(self) -> None:
        text = self.written(
            [self.row("one", "numpy a"), self.row("two", "loop"), self.row("three", "loop")],
            [self.row("two", "loop", 1.5), self.row("four", "loop")],
        )
        cells = compare.merge(text, [])
        assert [row[0] for row in cells] == ["one", "two", "three", "four"]
        assert [row[3] for row in cells] == ["1 (1–1)", "1.5 (1.5–1.5)", "1 (1–1)", "1 (1–1)"]

    def test_other_version_same_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = [self.row("one", "numpy a")]
        monkeypatch.setattr(compare, "version_of", lambda label: "numpy 1.0")
        text = self.written(rows)
        assert "numpy a [numpy 1.0]" in text
        monkeypatch.setattr(compare, "version_of", lambda label: "numpy 2.0")
        (cells,) = compare.merge(text, rows)
        assert cells[2] == "numpy a [numpy 2.0]"

    def test_other_device_or_threads_other_row(self) -> None:
        rows = [self.row("one", "loop"), self.row("one", "loop", device="GPU"), self.row("one", "loop", threads=2)]
        assert len(compare.merge(self.written(rows), rows)) == 3

    def test_a_missing_peer_keeps_its_figure(self) -> None:
        absent = [self.row("one", "loop", None), self.row("two", "loop", None)]
        text = self.written([self.row("one", "loop", 1.5)], absent)
        first, second = compare.merge(text, [])
        assert first[3] == "1.5 (1.5–1.5)"
        assert second[3].startswith("not measured")
        (_, again) = compare.merge(text, [self.row("two", "loop", 3.0)])
        assert (again[3], again[6]) == ("3 (3–3)", "no")

    def test_written_twice_is_the_same(self) -> None:
        rows = [self.row("a|b", "loop", 123.4), self.row("one", "loop", 0.0123)]
        assert self.written(rows, rows) == self.written(rows)
        assert compare.merge(self.written(rows), [])[0][0] == "a|b"
        assert "123 (123–123)" in self.written(rows)

    def test_head(self) -> None:
        text = self.written([self.row("one", "loop")])
        for part in ("python -m benchmarks", "2000-01-01", "a processor", "Python 3.11.0", "| part | scale | peer |"):
            assert part in text

    def test_version(self) -> None:
        import numpy

        assert compare.version_of("numpy sort") == f"numpy {numpy.__version__}"
        assert compare.version_of("sklearn LogisticRegression").startswith("scikit-learn ")
        assert compare.version_of("loop over rows") == ""


class TestCommand:
    def test_wrong_numbers_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        command = load("__main__")
        with pytest.raises(SystemExit) as error:
            command.main(["--rounds", "0"])
        assert error.value.code == 2
        assert "--rounds must be at least 1, got 0" in capsys.readouterr().err

    def test_measures_prints_and_writes(self, tmp_path: Path) -> None:
        folder = tmp_path / "benchmarks"
        folder.mkdir()
        for name in ("__main__.py", "compare.py"):
            shutil.copy(ROOT / name, folder)
        (folder / "bench_tiny.py").write_text(
            "def gone():\n    import a_module_that_nobody_has\n"
            "def cases():\n"
            "    return [{'name': 'tiny: ' + name, 'scale': 'n=3', 'target': '>= 0.001x', 'ours': int,\n"
            "             'peers': {'loop [1]': int, 'gone': gone}} for name in ('first', 'second')]\n",
            encoding="utf-8",
        )
        (folder / "bench_absent.py").write_text("import a_module_that_nobody_has\n", encoding="utf-8")

        def command(*arguments: str) -> subprocess.CompletedProcess[str]:
            line = [sys.executable, "-m", "benchmarks", *arguments]
            return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)

        done = command("second", "--rounds", "1", "--write")
        assert done.returncode == 0, done.stderr
        assert "loop" in done.stdout
        assert "bench_absent: not measured, a_module_that_nobody_has is missing" in done.stderr
        results = (folder / "RESULTS.md").read_text(encoding="utf-8")
        assert "| tiny: second | n=3 | loop [1] |" in results
        assert 'not measured: pip install "kexue[bench]"' in results
        assert "first" not in results.split("| --- |")[1]
        nothing = command("no such part")
        assert nothing.returncode == 2
        assert "no case matches 'no such part'" in nothing.stderr
