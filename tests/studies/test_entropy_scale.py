"""The study of attention beyond the length of training, shortened."""

from __future__ import annotations

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.entropy_scale import PRESETS, Config

SHORT = {
    "lengths": (16, 32, 64),
    "width": 24,
    "layers": 2,
    "heads": 2,
    "steps": 30,
    "batch": 16,
    "tokens": 1024,
    "factors": (1.0, 1.5),
    "keys": (16, 256, 1024),
    "rows": 40,
    "progress": NullProgress(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("Some Poems")
    lines = [f"第{n}行：山高{n % 7}水长{n % 5}。" for n in range(400)]
    (place / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    return str(place)


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder):
    out = tmp_path_factory.mktemp("runs")
    return kexue.studies.run("entropy-scale", out=out, dataset=(folder, "stdlib"), seeds=2, **SHORT)


def values(run, name):
    return [metric["value"] for metric in run.metrics if metric["name"] == name]


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {
        f"stdlib/{what}/{law}/64" for what in ("accuracy", "entropy", "head/2.2") for law in ("fixed", "log")
    } < names
    assert {f"rows/{what}/sphere/1024" for what in ("factor", "weight", "planted", "sphere")} < names
    assert [figure.name for figure in run.figures] == ["accuracy", "entropy", "factors", "heads", "rows"]
    assert [table.name for table in run.tables] == ["accuracy", "rows"]
    models = {path.name for path in (run.directory / "models").iterdir()}
    assert len(models) == 4
    assert {"stdlib-masked-s1", "stdlib-masked-s2"} < models


def test_a_folder_gives_its_name_to_metrics(run):
    (name,) = {metric["name"].split("/")[0] for metric in run.metrics} - {"stdlib", "rows", "deficit"}
    assert name.startswith("some-poems")


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.claim for claim in run.claims}) == len(run.claims)
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims)
    in_both_languages(run)


def test_the_first_text_decides_the_claims_of_the_article(run):
    of_article = [claim for claim in run.claims if claim.source == "article"]
    texts = [claim for claim in of_article if "layers" in claim.scale]
    assert len(texts) == 3
    assert all("characters of some-poems" in claim.scale for claim in texts)


def test_nothing_changes_at_the_length_of_training(run):
    assert values(run, "stdlib/accuracy/log/16") == values(run, "stdlib/accuracy/fixed/16")
    assert values(run, "stdlib/entropy/log/16") == values(run, "stdlib/entropy/fixed/16")
    for law, fixed in zip(values(run, "stdlib/entropy/log/64"), values(run, "stdlib/entropy/fixed/64"), strict=True):
        assert law < fixed
    claims = [claim for claim in run.claims if "nothing is lost" in claim.claim]
    assert len(claims) == 2
    assert all(claim.mean == 0 and claim.verdict == "reproduced" for claim in claims)


@pytest.mark.parametrize("text", ["weight of one key", "lacks no more than half", "λ = 1,"])
def test_what_does_not_depend_on_the_size_holds(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    assert claim.verdict == "reproduced", claim.line


def test_further_models(tmp_path):
    """A base length that is not the length of training, and models of the next token."""
    short = {**SHORT, "steps": 5, "tokens": 256, "rows": 5, "keys": (16, 64)}
    run = kexue.studies.run("entropy-scale", out=tmp_path, bases=(64,), causal=True, **short)
    names = {metric["name"] for metric in run.metrics}
    assert {"stdlib/accuracy/log-64/32", "stdlib/causal/accuracy/log/64", "stdlib/causal/accuracy/floor/64"} < names
    assert values(run, "stdlib/causal/accuracy/floor/16") == values(run, "stdlib/causal/accuracy/fixed/16")
    found = [claim for claim in run.claims if "n₀ = 64" in claim.claim]
    assert len(found) >= 3
    assert {claim.source for claim in found} == {"ours"}, "bytes of a program library are no language"
    assert len([claim for claim in run.claims if "next token" in claim.claim or "without the law" in claim.claim]) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"width": 20}, r"width must be a multiple of twice the heads \(3\), got 20"),
        ({"hidden": 1.0}, "hidden must be between 0 and 1, got 1.0"),
        ({"lengths": (64, 128)}, r"lengths must be 3 or more, rising from at least 8, got \(64, 128\)"),
        ({"keys": (64, 32)}, "keys must be 2 or more, rising"),
        ({"lengths": (64, 96, 128)}, "lengths must divide the last"),
        ({"tokens": 100}, "lengths must divide the last, and tokens be no fewer"),
        ({"factors": (1.5,)}, "factors must be positive, with 1 among them"),
        ({"bases": (1,)}, r"bases must be 2 or more, got \(1,\)"),
        ({"dataset": ("stdlib", "stdlib")}, "dataset must be one or more texts of different names"),
        ({"dataset": ()}, "dataset must be one or more texts"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].seeds >= 5
    assert PRESETS["full"].causal
    assert PRESETS["full"].bases == (512,)
