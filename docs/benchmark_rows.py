"""The rows of benchmarks/RESULTS.md, one table a part."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["setup"]

_RESULTS = Path(__file__).parents[1] / "benchmarks" / "RESULTS.md"
_COLUMNS = "part scale peer cpu wall target met device threads".split()


class Benchmarks(SphinxDirective):
    """The rows, grouped by the part that they measure."""

    def run(self) -> list[nodes.Node]:
        """Write the tables."""
        self.env.note_dependency(str(_RESULTS))
        lines = []
        for module, group in groupby(sorted(_rows(_RESULTS.read_text(encoding="utf-8")), key=_module), key=_module):
            lines += [f"## {module}", "", "| what | beside | ratio (quartiles) | asked | met |", "| --- " * 5 + "|"]
            lines += [_line(row, module) for row in group]
            lines.append("")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _module(row: dict[str, str]) -> str:
    return row["part"].partition(":")[0]


def _rows(text: str) -> list[dict[str, str]]:
    rows = []
    for line in text.partition("| part |")[2].splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if len(cells) == len(_COLUMNS):
            rows.append(dict(zip(_COLUMNS, cells, strict=True)))
    if not rows:
        raise ValueError(f"{_RESULTS.name} holds no row of the columns {', '.join(_COLUMNS)}")
    return rows


def _line(row: dict[str, str], module: str) -> str:
    what = row["part"].removeprefix(module).lstrip(": ")
    one_thread = row["threads"] == "1" and row["device"] == "CPU"
    ratio = row["cpu"] if one_thread else f"{row['wall']}, {row['threads']} threads, {row['device']}"
    scale = f"<br><small>{row['scale']}</small>" if row["scale"] else ""
    return f"| {what}{scale} | {row['peer']} | {ratio} | {row['target']} | {row['met']} |"


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directive."""
    app.add_directive("benchmarks", Benchmarks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
