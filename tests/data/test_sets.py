"""The table of data sets: complete, consistent, safe to turn into paths and addresses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.data import DataError, DataFile, DataSet, UnknownDataSetError, known_set, known_sets
from kexue.data.sets import checksum_of

SHA = "sha256:" + "0" * 64
FOLDERS = """att_faces banking77 ca8 chn_hotel cifar10_jpg cmrc2018 csldcp fashion_mnist_small glove_questions mnist10k
online_shopping poetry_zh ptb thucnews_titles thuocl tinyshakespeare tnews_few treebank_sample ud_chinese_gsd
ud_chinese_gsdsimp ud_english_ewt wikitext2 wordsim_zh""".split()


def test_every_folder_of_the_specification_has_its_set() -> None:
    folders = {data.folder for data in known_sets()}
    assert folders >= set(FOLDERS)
    assert {"mnist", "fashion_mnist", "cifar10_binary"} == folders - set(FOLDERS) - {known_set("digits").folder}


def test_names_and_folders_are_unique() -> None:
    sets = known_sets()
    assert [data.name for data in sets] == sorted({data.name for data in sets})
    assert len({data.folder for data in sets}) == len(sets)
    assert all(len({file.name.lower() for file in data.files}) == len(data.files) for data in sets)


def test_addresses_are_https_and_name_the_commit_of_the_origin() -> None:
    for data in known_sets():
        assert data.fetchable or all(file.url is None for file in data.files), data.name
        for file in data.files:
            if file.url is None:
                continue
            assert file.url.startswith("https://"), file.url
            if "githubusercontent" in file.url:
                repository, commit = re.match(r"github\.com/(\S+) at ([0-9a-f]{40})\b", data.origin).groups()
                assert file.url.startswith(f"https://raw.githubusercontent.com/{repository}/{commit}/"), file.url
                assert file.checksum.startswith("sha256:"), file.name


def test_derived_sets_are_not_fetched() -> None:
    by_hand = {data.name for data in known_sets() if not data.fetchable and data.package is None}
    assert by_hand == {"att-faces-300", "cifar10-jpg-8k", "fashion-mnist-2892", "poetry-zh"}


def test_only_data_with_a_clear_licence_may_be_printed() -> None:
    free = ("CC BY", "Apache-2.0", "MIT", "BSD-3-Clause", "public domain")
    for data in known_sets():
        assert data.licence_clear == data.licence.startswith(free), data.name
        assert data.licence_clear or not data.printable, data.name


def test_image_sets_say_how_many_images_they_hold() -> None:
    images = {data.name: data.title for data in known_sets() if re.search("mnist|cifar|faces", data.name)}
    assert len(images) == 7
    for name, title in images.items():
        count = int(name.rpartition("-")[2].removesuffix("k")) * (1000 if name.endswith("k") else 1)
        numbers = [int(number) for number in re.findall(r"\d{3,}", title)]
        assert count in (sum(numbers[:2]), numbers[0]), name


@pytest.mark.parametrize(
    ("wrong", "near"), [("mnist10k", "mnist-10k"), ("fashion-mnist", "fashion-mnist-70k"), ("", "wordsim-zh")]
)
def test_unknown_name_lists_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UnknownDataSetError, match=rf"no data set is called '{wrong}'; nearest: .*{near}") as caught:
        known_set(wrong)
    assert isinstance(caught.value, (DataError, ValueError))
    assert "\n" not in str(caught.value)


def test_an_entry_of_ones_own_is_returned_as_it_is() -> None:
    data = DataSet("mine", "mine", "t", "MIT", True, True, "o", (DataFile("a", 1, SHA),))
    assert known_set(data) is data
    assert (data.bytes, data.fetchable) == (1, False)


@pytest.mark.parametrize(
    "name", ["../a", "a/b", "a\\b", "/a", "C:a", "a:b", "..", ".", "", "nul", "COM1.txt", "a.", "a ", ".a", "a\n"]
)
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        DataFile(name, 1, SHA)
    with pytest.raises(ValueError, match="plain file name"):
        DataSet("mine", name, "t", "MIT", True, True, "o", (DataFile("a", 1, SHA),))


@given(st.text(max_size=12))
def test_an_accepted_name_stays_below_its_folder(name: str) -> None:
    try:
        file = DataFile(name, 1, SHA)
    except ValueError:
        return
    assert (Path("folder") / file.name).parent == Path("folder")
    assert file.name.strip(" .") == file.name


def test_wrong_entries_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"checksum of a must be sha256:<64 digits> or md5:<32 digits>, got sha1:0"):
        DataFile("a", 1, "sha1:0")
    with pytest.raises(ValueError, match="bytes of a must be positive, got 0"):
        DataFile("a", 0, SHA)
    with pytest.raises(ValueError, match="url of a must begin with http"):
        DataFile("a", 1, SHA, "file:///etc/passwd")
    with pytest.raises(ValueError, match="must be kebab-case, got 'My_Set'"):
        DataSet("My_Set", "a", "t", "MIT", True, True, "o", (DataFile("a", 1, SHA),))
    with pytest.raises(ValueError, match="data set a must have files"):
        DataSet("a", "a", "t", "MIT", True, True, "o", ())


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert checksum_of(path, "md5") == "md5:900150983cd24fb0d6963f7d28e17f72"
    assert checksum_of(path) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(DataError, match=r"cannot read .*absent: No such file"):
        checksum_of(tmp_path / "absent")


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, kexue.data; kexue.data.describe(); kexue.data.fingerprint('digits')\n"
        "print([m for m in ('torch', 'sklearn', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
