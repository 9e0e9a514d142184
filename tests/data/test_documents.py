"""Texts by name, and of folders."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile

import pytest

from kexue.data import DataError, UnknownDataSetError, load_documents
from kexue.data import documents as module


@pytest.fixture
def put(tmp_path, monkeypatch):
    """A known set whose files, of any content, lie in a folder."""

    def place(files):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        monkeypatch.setattr(module, "locate", lambda *_: type("Found", (), {"require": staticmethod(lambda: tmp_path)}))

    return place


def table(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def test_reviews_with_category_and_sentiment(put):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        rows = [
            ["cat", "label", "review"],
            ["书籍", "1", "\ufeff很好，\n真的"],
            ["酒店", "0", " "],
            ["酒店", "0", "差"],
        ]
        archive.writestr("reviews.csv", table(rows))
    put({"online_shopping_10_cats.zip": packed.getvalue()})
    found = load_documents("online-shopping")
    assert found.texts == ["很好，\n真的", "差"]  # the mark at the beginning and the empty review are gone
    assert found.groups == ["书籍", "酒店"]
    assert found.labels == [1, 0]
    assert len(found) == 2


def test_reviews_with_sentiment_alone(put):
    put({"ChnSentiCorp_htl_all.csv": table([["label", "review"], ["1", '他说"好"'], ["0", "吵"]])})
    found = load_documents("chn-hotel")
    assert (found.texts, found.groups, found.labels) == (['他说"好"', "吵"], None, [1, 0])


def test_titles(put):
    put({"class.txt": b"finance\nrealty\n", "dev.txt": "股市大涨\t0\n房价\t1\n".encode()})
    found = load_documents("thucnews-titles-10k")
    assert (found.texts, found.groups, found.labels) == (["股市大涨", "房价"], ["finance", "realty"], None)


def test_json_lines_and_paragraphs(put):
    line = json.dumps({"sentence": "标题", "label_desc": "news_car"}, ensure_ascii=False).encode()
    bare = json.dumps({"sentence": "无类"}).encode()
    names = ("train_few_all.json", "dev_few_all.json", "test_public.json")
    put({**dict.fromkeys(names, line), "unlabeled.json": bare})
    assert load_documents("tnews-few").groups == ["news_car"] * 3 + [""]
    put({"cmrc2018_dev.json": json.dumps({"data": [{"paragraphs": [{"context": "甲"}, {"context": "乙"}]}]}).encode()})
    assert load_documents("cmrc2018-dev").texts == ["甲", "乙"]


def test_what_is_damaged_is_told(put):
    put({"class.txt": b"finance\n", "dev.txt": "股市大涨\t7\n".encode()})
    with pytest.raises(DataError, match="kexue data check thucnews-titles-10k"):
        load_documents("thucnews-titles-10k")
    put({"online_shopping_10_cats.zip": b"PK no"})
    with pytest.raises(DataError, match="online-shopping .* is damaged"):
        load_documents("online-shopping")


def test_a_folder(tmp_path):
    (tmp_path / "b.txt").write_text("三\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("\ufeff一\r\n\n二 ", encoding="utf-8")
    (tmp_path / "no.md").write_text("四", encoding="utf-8")
    assert load_documents(tmp_path).texts == ["一", "二 ", "三"]
    (tmp_path / "c.txt").write_bytes("五".encode("gb18030"))
    with pytest.raises(DataError, match=r"c\.txt is not UTF-8: byte 0"):
        load_documents(tmp_path)


def test_what_is_no_text(tmp_path):
    with pytest.raises(DataError, match="holds no text"):
        load_documents(tmp_path)
    with pytest.raises(DataError, match="mnist-10k is not made of texts; those are banking77, chn-hotel"):
        load_documents("mnist-10k")
    with pytest.raises(UnknownDataSetError, match="online-shopping"):
        load_documents("online-shoping")


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data sets")
def test_real_sets_have_their_numbers_of_texts():
    sizes = {"online-shopping": 62773, "chn-hotel": 7765, "cmrc2018-dev": 848, "csldcp": 5888, "banking77": 13083}
    sizes |= {"tnews-few": 24293, "thucnews-titles-10k": 10000, "poetry-zh": 482282, "wikitext2-valid": 2461}
    for name, size in sizes.items():
        found = load_documents(name)
        assert len(found) == size, name
        assert not found.texts[0].startswith("\ufeff")
