"""The notebooks are stored as they were run, and run again."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def read(path: Path):
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def cells_of(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_there_are_five():
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_was_run(path):
    book = read(path)
    nbformat.validate(book)
    assert book.cells[0].source.startswith("# ")
    assert [cell.execution_count for cell in cells_of(book)] == list(range(1, len(cells_of(book)) + 1))
    for cell in cells_of(book):
        assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in cell.outputs)
    assert any(cell.outputs for cell in cells_of(book))
    text = path.read_text(encoding="utf-8")
    assert "/home/" not in text
    assert "/tmp/" not in text


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    """Figures and times differ between machines; what kind of output each cell has does not."""
    stored, book = read(path), read(path)
    places = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=places).execute()
    for before, after in zip(cells_of(stored), cells_of(book), strict=True):
        assert kinds_of(before) == kinds_of(after), before.source


def kinds_of(cell) -> set[str]:
    return {output.output_type for output in cell.outputs if output.get("name") != "stderr"}
