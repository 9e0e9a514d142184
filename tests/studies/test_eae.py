"""The study of the entropic autoencoder, shortened."""

from __future__ import annotations

import csv

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.eae import PRESETS, Arm, Config, build

SHORT = {
    "steps": 40,
    "entropy_weights": (0.2, 0.5),
    "variances": (0.05,),
    "shorter": (20,),
    "samples": 100,
    "draws": 1,
    "seeds": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    return kexue.studies.run("eae", out=folder, progress=NullProgress(), **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    whats = ("frechet", "frechet-train", "error", "entropy", "test-entropy", "correlation", "kurtosis", "distance")
    trained = {path.name.rpartition("-s")[0] for path in (run.directory / "models").iterdir()}
    assert {"ae", "eae-0", "eae-0.2", "eae-0.5", "vae-0.05", "vae-0.05-20"} < trained
    assert len(trained) == 7  # and the better EAE for 20 steps
    assert {metric["name"] for metric in run.metrics} == {
        "frechet/floor",
        *(f"{what}/{name}" for what in whats for name in trained),
    }
    assert [figure.name for figure in run.figures] == ["tuning", "samples", "nearest", "codes", "interpolation"]
    assert [figure.prints for figure in run.figures] == [None, "digits", "digits", None, "digits"]
    (table,) = run.tables
    with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == ["ae", "eae-0", "eae-0.2", "eae-0.5", "vae-0.05"]


def test_what_the_trainings_logged(run):
    assert len(run.trainings) == 14
    logged = run.trainings["eae-0.2-s1"]
    assert {line["name"] for line in logged} == {"loss", "reconstruction", "entropy"}
    assert {(line["step"], line["seed"]) for line in logged} == {(40, 1)}


def test_the_article_claims_one_thing_and_we_the_rest(run):
    assert [claim.source for claim in run.claims] == ["article"] + 7 * ["ours"]
    for claim in run.claims:
        assert claim.zh["claim"]
        assert claim.zh["scale"]
        assert claim.indicative
        assert claim.scale.startswith("8×8 digits, 1437 training images")
    article, thirty = run.claims[:2]
    assert thirty.bound == pytest.approx([0.7 * bound for bound in article.bound])
    assert "λ = 0." in article.note


def test_a_second_reading_trains_nothing(run, folder):
    before = {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")}
    facts = run.directory / "run.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace('"finished"', '"interrupted"', 1), encoding="utf-8")
    again = kexue.studies.run("eae", out=folder, progress=NullProgress(), **SHORT)
    assert again.status == "finished"
    assert [vars(claim) for claim in again.claims] == [vars(claim) for claim in run.claims]
    assert {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")} == before


@pytest.mark.parametrize(("shape", "small"), [((1, 8, 8), True), ((1, 28, 28), False)])
def test_both_sides_have_the_same_networks(shape, small):
    class Data:
        pass

    data = Data()
    data.shape, data.small = shape, small
    models = [build(Config(), Arm(kind, weight, 10), data) for kind, weight in (("eae", 0.2), ("vae", 0.05), ("ae", 0))]
    sizes = [sum(parameter.numel() for parameter in model.decoder.parameters()) for model in models]
    assert sizes[0] == sizes[1] == sizes[2]
    last = [list(model.encoder.parameters())[-1] for model in models]
    assert [len(bias) for bias in last] == [8, 16, 8]
    rest = [sum(p.numel() for p in list(model.encoder.parameters())[:-2]) for model in models]
    assert rest[0] == rest[1] == rest[2]
    assert models[2].bottleneck.batch_norm is False


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"shorter": (0, 5)}, r"shorter must be 1 or more, got \(0, 5\)"),
        ({"draws": 0}, "draws must be 1 or more"),
        ({"variances": ()}, "variances must be different positive numbers"),
        ({"variances": (0.1, 0.1)}, "variances must be different positive numbers"),
        ({"entropy_weights": (0.0, 0.1)}, "entropy_weights must be different positive numbers"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    standard = PRESETS["standard"]
    assert len(standard.entropy_weights) == len(standard.variances) == 5
    assert PRESETS["quick"].seeds == 1


def test_images_of_another_size(tmp_path):
    import gzip
    import struct

    import numpy as np

    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.uint8) % 3
    images = (rng.random((60, 12, 12)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    with gzip.open(folder / "images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">iiii", 2051, 60, 12, 12) + images.tobytes())
    with gzip.open(folder / "labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">ii", 2049, 60) + labels.tobytes())
    found = kexue.studies.run(
        "eae",
        out=tmp_path,
        dataset=str(folder),
        progress=NullProgress(),
        **{**SHORT, "steps": 2, "shorter": (1,), "batch": 16, "samples": 20, "seeds": 1, "entropy_weights": (1.0,)},
    )
    assert found.status == "finished"
    assert "two convolutions" in found.claims[0].scale
