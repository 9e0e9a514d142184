"""Bracketed files: what is kept, what is dropped, where they are found, and what is wrong with them."""

from __future__ import annotations

import zipfile

import pytest

from kexue.words.treebank import read_ptb_trees

TEXT = """
( (S
    (NP-SBJ-1 (DT The) (NNP U.S.) (NNS 747s) )
    (VP (VBD cost)
      (NP (QP ($ $) (CD 1,200.5) (CD million) ) (-NONE- *U*) )
      (S (NP-SBJ (-NONE- *-1) ) ))
    (. .) ))
( (X (. !) (: --) ))
( (FRAG (NP (NNP Yes) ) (. .) ))
(TOP (S (NP (PRP It) ) (VP (VBZ is) )))
"""
REDUCED = [(("the", "u.s.", "Ns"), ("cost", ("N,N.N", "million"))), "yes", ("it", "is")]


def test_the_protocol(tmp_path):
    file = tmp_path / "a.mrg"
    file.write_text(TEXT, encoding="utf-8")
    assert read_ptb_trees(file) == read_ptb_trees(str(file)) == REDUCED
    assert read_ptb_trees(file, protocol="surface") == [
        (("The", "U.S.", "747s"), ("cost", ("$", "1,200.5", "million")), "."),
        ("!", "--"),
        ("Yes", "."),
        ("It", "is"),
    ]


def test_folders_and_archives_are_read_in_the_order_of_names(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.mrg").write_text("(S (NN b))", encoding="utf-8")
    (tmp_path / "deep" / "c.mrg").write_text("(S (NN c))", encoding="utf-8")
    (tmp_path / "a.mrg").write_text("(S (NN a)) (S (NN aa))", encoding="utf-8")
    (tmp_path / "README").write_text("not ( a tree", encoding="utf-8")
    assert read_ptb_trees(tmp_path) == ["a", "aa", "b", "c"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("x/2.mrg", "x/1.mrg", "x/README"):
            archive.writestr(name, f"(S (NN {name}))")
    assert read_ptb_trees(tmp_path / "all.zip") == ["x/N.mrg", "x/N.mrg"]
    assert read_ptb_trees(tmp_path / "all.zip", protocol="surface") == ["x/1.mrg", "x/2.mrg"]


def test_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*\.mrg file in"):
        read_ptb_trees(tmp_path)
    with zipfile.ZipFile(tmp_path / "none.zip", "w"):
        pass
    with pytest.raises(FileNotFoundError, match=r"no \*\.mrg file in .*none\.zip"):
        read_ptb_trees(tmp_path / "none.zip")
    with pytest.raises(FileNotFoundError):
        read_ptb_trees(tmp_path / "a.mrg")
    with pytest.raises(ValueError, match="got 'nltk'"):
        read_ptb_trees(tmp_path, protocol="nltk")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(S (NN a)", r"a\.mrg: 1 brackets are not closed"),
        ("(S (NN a)))", r"a\.mrg: '\)' outside of brackets, at character 10"),
        ("a", r"a\.mrg: 'a' outside of brackets, at character 0"),
    ],
)
def test_brackets_that_do_not_match(tmp_path, text, message):
    (tmp_path / "a.mrg").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_ptb_trees(tmp_path / "a.mrg")
