"""Texts by the name of a data set, whatever form it has on disk."""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kexue.data.location import locate
from kexue.data.sets import DataError, known_set, known_sets

__all__ = ["Documents", "load_documents"]


@dataclass(frozen=True)
class Documents:
    """The texts of a data set, and what it says of each.

    Parameters
    ----------
    texts : list of str
        A review, a title, an abstract, a paragraph or a line each; none is empty.
    groups : list of str or None
        The category of each text, "" where it has none.
    labels : list of int or None
        The sentiment of each text, 1 for good and 0 for bad.
    """

    texts: list[str]
    groups: list[str] | None = None
    labels: list[int] | None = None

    def __len__(self) -> int:
        return len(self.texts)


def load_documents(dataset: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None) -> Documents:
    """The texts of a known data set, or of a folder of one's own.

    Parameters
    ----------
    dataset : str or path
        ``"online-shopping"`` (reviews with category and sentiment), ``"chn-hotel"`` (with sentiment),
        ``"cmrc2018-dev"`` (paragraphs of an encyclopedia), ``"csldcp"`` (abstracts with their subject),
        ``"thucnews-titles-10k"`` and ``"tnews-few"`` (titles with their category), ``"banking77"`` (queries with their
        intent), ``"poetry-zh"``, ``"tinyshakespeare"``, ``"wikitext2-valid"`` and ``"ptb-valid"`` (lines); or a folder,
        each line of whose ``.txt`` files, in UTF-8, is a text.
    data_dir : path, optional
        The data folder to look in first for a known set.

    Returns
    -------
    Documents
        The texts in the order of the files; empty ones are left out.

    Raises
    ------
    UnknownDataSetError
        If it is neither the name of a known set nor a folder.
    DataError
        If the set is missing, damaged or not made of texts, or the folder holds no line of text.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "poems.txt").write_text("床前明月光\\n\\n疑是地上霜\\n", encoding="utf-8")
    ...     load_documents(folder).texts
    ['床前明月光', '疑是地上霜']
    """
    name = os.fspath(dataset)
    if name not in {known.name for known in known_sets()}:
        if not os.path.isdir(name):
            known_set(name)  # says which names are near
        return _kept(_read_folder(Path(name)), name, grouped=False, labelled=False)
    if name not in _READERS:
        raise DataError(f"the data set {name} is not made of texts; those are {', '.join(sorted(_READERS))}")
    reader, grouped, labelled = _READERS[name]
    folder = locate(name, data_dir).require()
    try:
        return _kept(reader(folder), name, grouped=grouped, labelled=labelled)
    except (ValueError, KeyError, IndexError, EOFError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(
            f"data set {name} in {folder} is damaged ({error}): kexue data check {name} says which file"
        ) from None


_Row = tuple[str, str, int]  # text, group, label


def _kept(rows: Iterable[_Row], name: str, *, grouped: bool, labelled: bool) -> Documents:
    kept = [row for row in rows if row[0].strip()]
    if not kept:
        raise DataError(f"{name} holds no text")
    texts, groups, labels = (list(column) for column in zip(*kept, strict=True))
    return Documents(texts, groups if grouped else None, labels if labelled else None)


def _read_folder(folder: Path) -> Iterator[_Row]:
    paths = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not UTF-8: byte {error.start}; save it in UTF-8 (from GBK: iconv -f GB18030 -t UTF-8)"
            ) from None
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None
        for line in text.splitlines():
            yield line, "", 0


def _shopping(folder: Path) -> Iterator[_Row]:
    with zipfile.ZipFile(folder / "online_shopping_10_cats.zip") as archive:
        (name,) = archive.namelist()
        with archive.open(name) as raw:
            for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")):
                yield row["review"].lstrip("\ufeff"), row["cat"], int(row["label"])  # the first one begins with a mark


def _hotel(folder: Path) -> Iterator[_Row]:
    with open(folder / "ChnSentiCorp_htl_all.csv", encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield row["review"], "", int(row["label"])


def _banking(folder: Path) -> Iterator[_Row]:
    for name in ("train.csv", "test.csv"):
        with open(folder / name, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["text"], row["category"], 0


def _paragraphs(folder: Path) -> Iterator[_Row]:
    for article in json.loads((folder / "cmrc2018_dev.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"], "", 0


def _json_lines(text: str, group: str, names: tuple[str, ...]) -> Callable[[Path], Iterator[_Row]]:
    def read(folder: Path) -> Iterator[_Row]:
        for name in names:
            for line in (folder / name).read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                yield entry[text], entry.get(group, ""), 0

    return read


def _titles(folder: Path) -> Iterator[_Row]:
    groups = (folder / "class.txt").read_text(encoding="utf-8").split()
    for line in (folder / "dev.txt").read_text(encoding="utf-8").splitlines():
        title, _, number = line.rpartition("\t")
        yield title, groups[int(number)], 0


def _poems(folder: Path) -> Iterator[_Row]:
    with lzma.open(folder / "poetry_21mb.txt.xz", "rt", encoding="utf-8") as file:
        for line in file:
            yield line.removesuffix("\n"), "", 0


def _lines(name: str) -> Callable[[Path], Iterator[_Row]]:
    def read(folder: Path) -> Iterator[_Row]:
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            yield line.strip(), "", 0

    return read


_FEW = ("train_few_all.json", "dev_few_all.json", "test_public.json")
# How each set is read, whether its texts have a group, and whether they have a sentiment.
_READERS: dict[str, tuple[Callable[[Path], Iterator[_Row]], bool, bool]] = {
    "online-shopping": (_shopping, True, True),
    "chn-hotel": (_hotel, False, True),
    "banking77": (_banking, True, False),
    "cmrc2018-dev": (_paragraphs, False, False),
    "csldcp": (_json_lines("content", "label", _FEW), True, False),
    "tnews-few": (_json_lines("sentence", "label_desc", (*_FEW, "unlabeled.json")), True, False),
    "thucnews-titles-10k": (_titles, True, False),
    "poetry-zh": (_poems, False, False),
    "ptb-valid": (_lines("ptb.valid.txt"), False, False),
    "tinyshakespeare": (_lines("input.txt"), False, False),
    "wikitext2-valid": (_lines("wiki.valid.txt"), False, False),
}
