"""Run the notebooks again and store what they show: python docs/run_notebooks.py [NAME ...]."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["run"]

_FOLDER = Path(__file__).parent / "notebooks"


def run(path: Path) -> None:
    """Run one notebook in an empty folder and write it back, without progress and warnings.

    Parameters
    ----------
    path : Path
        The notebook.
    """
    book = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    for cell in book.cells:
        cell.metadata = {}  # times of the run
        if cell.cell_type == "code":
            cell.outputs = _joined([one for one in cell.outputs if one.get("name") != "stderr"])
    path.write_text(nbformat.writes(book, indent=1) + "\n", encoding="utf-8", newline="\n")


def _joined(outputs: list[Any]) -> list[Any]:
    """What was printed in several pieces as one."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == "stream" == joined[-1].output_type:
            joined[-1]["text"] += output["text"]
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    for found in sorted(_FOLDER.glob("*.ipynb")):
        if len(sys.argv) == 1 or found.stem in sys.argv[1:]:
            run(found)
