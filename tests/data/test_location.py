"""Where data sets are looked for, what is told of them, and what a fingerprint depends on."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import pytest

from kexue.data import (
    DataError,
    DataFile,
    DataSet,
    UnknownDataSetError,
    check,
    data_folders,
    describe,
    fingerprint,
    known_set,
    known_sets,
    locate,
    user_folder,
)


def entry(**contents: bytes) -> DataSet:
    files = tuple(DataFile(n, len(c), "sha256:" + hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    return DataSet("mine", "mine", "title", "MIT", True, True, "nowhere", files)


def put(root: Path, **contents: bytes) -> Path:
    (root / "mine").mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (root / "mine" / name).write_bytes(content)
    return root


def put_sizes(root: Path, name: str) -> None:
    """Files of the right lengths without their contents: sparse, so that nothing is written."""
    data = known_set(name)
    (root / data.folder).mkdir(parents=True)
    for file in data.files:
        with (root / data.folder / file.name).open("wb") as stream:
            stream.truncate(file.bytes)


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A KEXUE_DATA and a user's folder of this test's own."""
    monkeypatch.setenv("KEXUE_DATA", str(tmp_path / "shared"))
    monkeypatch.setattr("kexue.data.location.user_folder", lambda: tmp_path / "user")
    return {"data_dir": tmp_path / "given", "KEXUE_DATA": tmp_path / "shared", "user": tmp_path / "user"}


def test_folders_in_order(roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data_folders(roots["data_dir"]) == tuple(roots.values())
    assert data_folders() == (roots["KEXUE_DATA"], roots["user"])
    assert data_folders(roots["user"]) == (roots["user"], roots["KEXUE_DATA"])
    monkeypatch.setenv("KEXUE_DATA", "")
    assert data_folders() == (roots["user"],)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEXUE_DATA", "below")
    assert data_folders()[0] == Path.cwd() / "below"
    monkeypatch.setenv("KEXUE_DATA", os.path.join("~", "data"))
    assert data_folders()[0] == Path.home() / "data"


def test_user_folder_of_each_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Path.home()
    assert user_folder({}, "linux") == home / ".local" / "share" / "kexue"
    assert user_folder({"XDG_DATA_HOME": str(tmp_path)}, "linux") == tmp_path / "kexue"
    assert user_folder({"XDG_DATA_HOME": "relative"}, "linux") == home / ".local" / "share" / "kexue"
    assert user_folder({}, "darwin") == home / "Library" / "Application Support" / "kexue"
    assert user_folder({"LOCALAPPDATA": str(tmp_path)}, "win32") == tmp_path / "kexue" / "data"
    assert user_folder({}, "win32") == home / "AppData" / "Local" / "kexue" / "data"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(homeless))
    assert user_folder({}, "linux") is None


def test_states_and_order(roots: dict[str, Path]) -> None:
    data, given = entry(a=b"abc", b=b"defg"), roots["data_dir"]
    missing = locate(data, given)
    assert (missing.state, missing.folder, missing.lacking) == ("missing", None, ("a", "b"))
    assert missing.looked == tuple(root / "mine" for root in roots.values())
    with pytest.raises(
        DataError, match=r"data set mine is missing: kexue data get mine --source PATH.* a, b from nowhere \(loo"
    ):
        missing.require()

    put(roots["user"], a=b"abc", b=b"def")
    partly = locate(data, given)
    assert (partly.state, partly.folder, partly.lacking) == ("partly", roots["user"] / "mine", ("b",))
    with pytest.raises(DataError, match=r"mine is not whole in .*user.mine \(b\)"):
        partly.require()

    put(roots["KEXUE_DATA"], a=b"xyz", b=b"defg")  # lengths are right: found, and check tells that a is not
    whole = locate(data, given)
    assert whole.require() == whole.folder == roots["KEXUE_DATA"] / "mine"
    assert [(c.name, c.state) for c in check(data, given)] == [("a", "corrupted"), ("b", "ok")]
    put(given, a=b"abc", b=b"defg")
    assert locate(data, given).folder == given / "mine"
    assert all(c.state == "ok" and c.got == c.expected for c in check(data, given))


def test_a_begun_download_counts_as_partly(roots: dict[str, Path]) -> None:
    put(roots["user"], **{"a.part": b"a"})
    assert locate(entry(a=b"abc")).state == "partly"


def test_check_tells_expected_and_got(roots: dict[str, Path]) -> None:
    put(roots["user"], a=b"ab", b=b"xxxx")
    a, b, c = check(entry(a=b"abc", b=b"defg", c=b"h"))
    assert (a.state, a.expected, a.got) == ("corrupted", "3 bytes", "2 bytes")
    assert (b.state, b.got) == ("corrupted", "sha256:" + hashlib.sha256(b"xxxx").hexdigest())
    assert (c.state, c.got, c.path) == ("missing", "", roots["user"] / "mine" / "c")
    with pytest.raises(UnknownDataSetError, match="no data set is called 'nothing'"):
        check("nothing")


def test_a_missing_set_of_the_table_names_the_command() -> None:
    with pytest.raises(DataError, match=r"^data set banking77 is missing: kexue data get banking77 \(looked in "):
        locate("banking77").require()


def test_rows_for_a_table(roots: dict[str, Path]) -> None:
    put_sizes(roots["user"], "mnist-10k")
    rows = {row["name"]: row for row in describe()}
    assert list(rows) == [data.name for data in known_sets()]
    assert rows["mnist-10k"]["state"] == "present"
    assert rows["mnist-10k"]["folder"] == str(roots["user"] / "mnist10k")
    assert rows["banking77"]["folder"] == str(roots["KEXUE_DATA"] / "banking77")
    fetch = {name: rows[name]["fetch"] for name in ("digits", "mnist-70k", "cifar10-60k", "poetry-zh")}
    assert fetch == {"digits": "installed", "mnist-70k": "yes", "cifar10-60k": "asks", "poetry-zh": "by hand"}
    assert rows["digits"]["size"] == "57.5 kB"
    assert rows["cifar10-60k"]["size"] == "170.1 MB"
    assert all(isinstance(value, str) and "\n" not in value for row in rows.values() for value in row.values())


def test_fingerprint_of_a_known_set_does_not_depend_on_where_it_lies(roots: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"^data set mnist-10k is missing: kexue data get mnist-10k"):
        fingerprint("mnist-10k")
    put_sizes(roots["user"], "mnist-10k")
    put_sizes(roots["data_dir"], "mnist-10k")
    put_sizes(roots["user"], "banking77")
    assert fingerprint("mnist-10k") == fingerprint("mnist-10k", roots["data_dir"])
    assert fingerprint("mnist-10k") != fingerprint("banking77")
    assert len(fingerprint("banking77")) == 64


def test_fingerprint_of_the_digits_is_that_of_scikit_learns_file() -> None:
    assert "sha256:" + fingerprint("digits") == known_set("digits").files[0].checksum


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'digits is missing: it comes with sklearn: pip install "kexue\[estimators\]"'):
        fingerprint("digits")


def test_fingerprint_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "sub").mkdir(parents=True)
    with pytest.raises(DataError, match=r"the folder .*own holds no files"):
        fingerprint(str(folder))
    (folder / "a").write_bytes(b"1")
    (folder / "sub" / "b").write_bytes(b"2")
    first = fingerprint(str(folder))
    assert first == fingerprint(str(folder.rename(tmp_path / "moved")))
    folder = tmp_path / "moved"
    (folder / "a").write_bytes(b"3")
    changed = fingerprint(str(folder))
    (folder / "a").rename(folder / "c")
    assert len({first, changed, fingerprint(str(folder))}) == 3


def test_fingerprint_follows_a_link_once(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    plain = fingerprint(str(folder))
    try:
        (folder / "again").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not make links here")
    assert fingerprint(str(folder)) == plain


def test_fingerprint_refuses_what_is_neither_name_nor_folder(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(b"1")
    with pytest.raises(DataError, match=r"name of a known set or a folder, got the file .*file\.csv"):
        fingerprint(str(tmp_path / "file.csv"))
    with pytest.raises(UnknownDataSetError, match=r"'mnist-10'; nearest: mnist-10k"):
        fingerprint("mnist-10")
    with pytest.raises(UnknownDataSetError, match="''"):
        fingerprint("")


KEXUE_DATA = os.environ.get("KEXUE_DATA", "")


@pytest.mark.parametrize("name", [data.name for data in known_sets() if data.package is None])
def test_real_files_are_what_the_table_says(name: str) -> None:
    folder = Path(KEXUE_DATA) / known_set(name).folder
    if not KEXUE_DATA or not folder.is_dir():
        pytest.skip(f"KEXUE_DATA names no folder that holds {known_set(name).folder}")
    assert [(c.name, c.state) for c in check(name, KEXUE_DATA) if c.state != "ok"] == []
