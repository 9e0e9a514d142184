"""The study of integrated gradients, shortened."""

from __future__ import annotations

import csv
import json
import warnings

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.report.page import run_page
from kexue.studies import explained_images, explained_texts
from kexue.studies.explained_images import NETWORKS, ORDERS, OUTPUTS
from kexue.studies.integrated_gradients import PRESETS, Config
from kexue.studies.sentiment_texts import planted_texts

SHORT = {"steps": 40, "texts": 160, "nodes": 8, "batch": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def few_images():
    whole = explained_images._test_images
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explained_images, "_test_images", lambda: tuple(part[:40] for part in whole()))
        yield


@pytest.fixture(scope="module")
def run(folder, few_images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return kexue.studies.run("integrated-gradients", out=folder, progress=NullProgress(), **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    assert {metric["name"] for metric in run.metrics} == {
        *("saturation/gradient", "saturation/share"),
        *(f"images/{what}/{kind}" for what in ("accuracy", "completeness") for kind in NETWORKS),
        *(f"images/area/{output}/{order}" for output in OUTPUTS for order in ORDERS.values()),
        *(f"planted-{name}/{what}" for name in ("both", "one") for what in ("accuracy", "baseline", "hit")),
        *(
            f"planted-{name}/{what}/{side}"
            for name in ("both", "one")
            for what in ("drop", "drop-mean", "share")
            for side in ("negative", "positive")
        ),
    }
    assert [figure.name for figure in run.figures] == ["deletion", "errors", "digits"]
    assert [figure.prints for figure in run.figures] == [None, None, "digits"]
    assert [table.name for table in run.tables] == ["deletion", "planted"]
    with (run.directory / run.tables[0].file).open(encoding="utf-8", newline="") as file:
        assert [row["order"] for row in csv.DictReader(file)] == list(ORDERS)
    assert len(run.trainings) == 4


def test_the_texts_are_on_the_page(run):
    (text,) = run.texts
    rows = json.loads((run.directory / text.file).read_text(encoding="utf-8"))
    assert len(rows) == 6
    expected = planted_texts(160, both=True, seed=1).texts[120:126]
    assert ["".join(row["tokens"]) for row in rows] == expected
    page = run_page(run)
    assert all(f">{character}</span>" in page for character in expected[0])


def test_sources_and_languages(run):
    assert [claim.source for claim in run.claims] == ["paper", "article", "paper", "article", *6 * ["ours"], "article"]
    for claim in run.claims:
        assert claim.zh["claim"]
        assert claim.zh["scale"]
        assert bool(claim.note) == bool(claim.zh.get("note"))
        assert claim.indicative
    assert len({claim.claim for claim in run.claims}) == 11
    for shown in [*run.figures, *run.tables, *run.texts]:
        assert shown.caption["en"]
        assert shown.caption["zh"]


def test_what_does_not_depend_on_the_length_of_the_training(run):
    saturation, completeness, riemann = run.claims[:3]
    assert saturation.verdict == "reproduced"
    assert max(completeness.measured) < 0.1  # 8 nodes
    assert riemann.verdict == "reproduced"
    unmeasured = run.claims[-1]
    assert unmeasured.verdict == "undecided"
    assert unmeasured.measured == []


def test_deletion_goes_from_the_whole_image_to_none(run):
    import torch

    network = torch.nn.Linear(3, 2)
    x, target = torch.rand(5, 3), torch.zeros(5, dtype=torch.int64)
    scores = torch.tensor([[3.0, 1.0, 2.0]]).expand(5, 3)
    found = explained_images._deletion_curve(network, x, target, scores)
    kept = [[1.0, 1, 1], [0.0, 1, 1], [0.0, 1, 0], [0.0, 0, 0]]
    expected = [network(x * torch.tensor(one)).softmax(1)[:, 0].mean().item() for one in kept]
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_second_reading_trains_nothing(run, folder):
    before = {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")}
    facts = run.directory / "run.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace('"finished"', '"interrupted"', 1), encoding="utf-8")
    again = kexue.studies.run("integrated-gradients", out=folder, progress=NullProgress(), **SHORT)
    assert again.status == "finished"
    # As texts: the claim that was not measured has a mean that is not even equal to itself.
    assert repr(again.claims) == repr(run.claims)
    assert {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")} == before


def test_reviews_are_measured_where_there_are_some(folder, few_images, monkeypatch):
    asked = []

    def some_reviews(dataset, *, seed, data_dir):
        asked.append((dataset, seed))
        return planted_texts(120, both=True, seed=seed)._replace(decisive=[()] * 120)

    monkeypatch.setattr(explained_texts, "review_texts", some_reviews)
    found = kexue.studies.run("integrated-gradients", out=folder, progress=NullProgress(), **SHORT, reviews="mine")
    assert asked == [("mine", 1)]
    claim = found.claims[-1]
    assert claim.source == "article"
    assert claim.scale.startswith("24 mine test reviews of 10 to 80 characters")
    drops = {m["name"].rpartition("/")[2]: m["value"] for m in found.metrics if m["name"].startswith("reviews/drop/")}
    assert claim.measured == [drops["negative"]]
    assert claim.bounds == [drops["positive"]]
    assert [table.name for table in found.tables] == ["deletion", "planted", "reviews"]
    assert "reviews/hit" not in {metric["name"] for metric in found.metrics}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"texts": 39}, "texts must be 40 or more, got 39"),
        ({"nodes": 0}, "nodes must be 1 or more, got 0"),
        ({"blanked": 0}, "blanked must be 1 or more, got 0"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert not PRESETS["quick"].reviews
    assert PRESETS["standard"].reviews == "chn-hotel"
