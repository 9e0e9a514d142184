"""The study of sequences that stop, shortened."""

from __future__ import annotations

import csv

import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.stopping import PRESETS, Config
from kexue.studies.stopping_models import DECODERS, Arm

SHORT = {
    "hidden": 24,
    "embedding": 16,
    "steps": 12,
    "batch": 32,
    "eps": 0.02,
    "other_eps": (0.05,),
    "own_logits": True,
    "prefixes": 8,
    "length": 40,
    "patience": 300,
    "seeds": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    return kexue.studies.run("stopping", out=folder, progress=NullProgress(), **SHORT)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    trained = {path.name for path in (run.directory / "models").iterdir()}
    assert trained == {
        *(f"{name}-s{seed}" for name in ("softmax", "st", "nmst", "st-set", "st-unset") for seed in (1, 2)),
        "st-0.05-s1",
        "nmst-0.05-s1",
    }
    names = {metric["name"] for metric in run.metrics}
    assert {f"endless/softmax/{decoder}" for decoder in DECODERS} < names
    assert {f"repetition/nmst/{decoder}" for decoder in DECODERS[:5]} < names
    assert "endless/nmst/consistent-nucleus" not in names
    assert {"perplexity/softmax", "perplexity/st-unset", "perplexity/nmst-0.05"} < names
    assert [figure.name for figure in run.figures] == ["endless", "stopping", "perplexity"]
    assert [table.name for table in run.tables] == ["decoders", "perplexity", "texts"]
    with (run.directory / run.tables[0].file).open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(DECODERS) + 5 + 5


def test_the_layers_end_in_time(run):
    values = {(m["name"], m["seed"]): m["value"] for m in run.metrics}
    for seed in (1, 2):
        for kind in ("st", "nmst"):
            assert values[f"endless/{kind}/greedy", seed] == 0
            assert values[f"longest/{kind}/greedy", seed] <= 35  # of eps = 0.02


def test_all_models_of_a_seed_begin_alike(run):
    import torch

    from kexue.studies.character_model import CharacterModel

    torch.manual_seed(1)
    first = CharacterModel(30, embedding=4, hidden=5).state_dict()
    torch.manual_seed(1)
    second = CharacterModel(30, embedding=4, hidden=5, layer={"eps": 0.1}).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len(run.claims) >= 16
    in_both_languages(run)
    assert all(claim.indicative for claim in run.claims)
    assert {claim.source for claim in run.claims} == {"article", "paper", "ours"}


def test_a_second_reading_trains_nothing(run, folder):
    before = {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")}
    facts = run.directory / "run.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace('"finished"', '"interrupted"', 1), encoding="utf-8")
    again = kexue.studies.run("stopping", out=folder, progress=NullProgress(), **SHORT)
    assert again.status == "finished"
    assert [vars(claim) for claim in again.claims] == [vars(claim) for claim in run.claims]
    assert {path: path.stat().st_mtime_ns for path in (run.directory / "models").rglob("*")} == before


def test_names_of_arms():
    config = Config()
    assert [Arm(*arm).name(config) for arm in (("softmax",), ("st", 1e-3), ("nmst", 0.01), ("st", 1e-3, "set"))] == [
        "softmax",
        "st",
        "nmst-0.01",
        "st-set",
    ]
    assert Arm("softmax").layer(9.0) is None
    assert Arm("st", 0.1, "set").layer(9.0) == {"eps": 0.1, "kind": "st", "relative": False, "mean_length": 9.0}
    assert Arm("st", 0.1, "unset").layer(9.0) == {"eps": 0.1, "kind": "st", "relative": False}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"longest": 9}, "longest must be 10 or more, got 9"),
        ({"eps": 1.0}, r"eps and other_eps must be in \(0, 1\), got 1.0"),
        ({"other_eps": (0.0,)}, r"eps and other_eps must be in \(0, 1\)"),
        ({"length": 692}, "length must be 693 or more, where greedy decoding with eps = 0.001 has ended"),
        ({"patience": 700}, "and patience not less, got 800 and 700"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


@pytest.mark.parametrize("eps", [1e-4, 5e-4, 1e-3, 0.02, 0.3, 0.5, 0.9])
def test_the_last_step_is_that_of_the_layer(eps):
    from kexue.decoding import termination_step

    assert Config(eps=eps, length=10_000).last_step == termination_step(eps)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["standard"].own_logits
    assert PRESETS["standard"].dataset == "online-shopping"
