"""The study of distributions of a prescribed entropy, shortened."""

from __future__ import annotations

import csv
import math

import pytest
import torch

import kexue
from kexue.progress import NullProgress
from kexue.studies.constant_entropy_sampling import PARTS
from kexue.studies.entropy_normalization import PRESETS, Config, kinds_of_rows, plain_errors

METHODS = ("constant", "temperature", "top-p", "min-p")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kexue.studies.run(
        "entropy-normalization",
        out=tmp_path_factory.mktemp("runs"),
        draws=50,
        spreads=(0.01, 3.0, 30.0),
        shares=(0.1, 0.9),
        cell=5,
        rows=500,
        hidden=24,
        embedding=16,
        steps=60,
        batch=16,
        width=20,
        targets=(0.5, 0.8),
        texts=12,
        length=40,
        seeds=2,
        progress=NullProgress(),
    )


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    samplers = ["text", "model", "constant-1", *(f"{method}-{share}" for method in METHODS for share in (0.5, 0.8))]
    names = {metric["name"] for metric in run.metrics}
    assert names == {
        "example-median",
        "example-worst",
        "own-entropy",
        *(f"plain-failures/spread={spread}" for spread in ("0.01", "3", "30")),
        *(f"{part}/{sampler}" for part in PARTS for sampler in samplers),
    }
    assert {metric["seed"] for metric in run.metrics} == {1, 2}
    assert [figure.name for figure in run.figures] == ["example", "failures", "samplers", "exponent"]
    assert [table.name for table in run.tables] == ["samplers", "texts"]
    with (run.directory / run.tables[0].file).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sampler"] for row in rows} == set(samplers)
    assert {row["setting"] for row in rows if row["sampler"] in ("text", "model")} == {""}


def test_samplers_have_the_entropy_that_was_asked_for(run):
    values = {(m["name"], m["seed"]): m["value"] for m in run.metrics}
    for seed in (1, 2):
        own = values["own-entropy", seed]
        assert values["entropy/model", seed] == own
        for share in (0.5, 0.8):
            assert values[f"entropy/constant-{share}", seed] == pytest.approx(share * own, abs=1e-4)
            assert values[f"deviation/constant-{share}", seed] < 1e-4
            for rival in METHODS[1:]:
                assert values[f"entropy/{rival}-{share}", seed] == pytest.approx(share * own, rel=0.35)
                assert values[f"deviation/{rival}-{share}", seed] > 0.01
        for part in ("known", "repetition", "distinct"):
            assert 0 <= values[f"{part}/text", seed] <= 1


def test_claims(run):
    assert [claim.source for claim in run.claims] == ["article"] + 8 * ["ours"]
    for claim in run.claims:
        assert claim.zh["claim"]
        assert claim.zh["scale"]
        assert bool(claim.note) == bool(claim.zh.get("note"))
    # What does not depend on how good the language model is.
    assert [run.claims[number].verdict for number in (0, 2, 3, 4)] == ["reproduced"] * 4


def test_the_plain_iteration_by_hand():
    z = torch.tensor([[0.0, -1.0, -3.0]], dtype=torch.float64)
    target, gamma, expected = 0.5, 1.0, []
    for _ in range(4):
        p = torch.softmax(gamma * z, -1)
        entropy = -(p * p.log()).sum()
        gamma = gamma + (entropy - target) / (gamma * ((p * z * z).sum() - (p * z).sum() ** 2))
        q = torch.softmax(gamma * z, -1)
        expected.append((-(q * q.log()).sum() - target).abs())
    torch.testing.assert_close(plain_errors(z, target, 4)[:, 0], torch.stack(expected), rtol=1e-9, atol=1e-12)
    # From a nearly uniform distribution the first step leaves the positive numbers, or everything.
    flat = 0.01 * torch.randn(20, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (plain_errors(flat, 0.5 * math.log(100), 30)[-1] > 1e-6).all()


def test_kinds_of_rows_are_distributions():
    kinds = list(kinds_of_rows(7, 40, torch.Generator().manual_seed(0)))
    assert len(kinds) == 9
    for logits in kinds:
        assert logits.shape == (7, 40)
        top = logits.amax(-1)
        assert top.isfinite().all()
        assert not logits.isnan().any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"draws": 0}, "draws must be 1 or more, got 0"),
        ({"states": 30}, "states must be 31 or more, got 30"),
        ({"length": 19}, "length must be 20 or more, got 19"),
        ({"shares": (0.0,)}, r"shares must be numbers in \(0, 1\), got \(0.0,\)"),
        ({"targets": ()}, r"targets must be numbers in \(0, 1\), got \(\)"),
        ({"spreads": (0.0, 1.0)}, "spreads must be positive numbers"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    standard = PRESETS["standard"]
    assert standard.rows * standard.seeds == 1_000_000
    assert PRESETS["quick"].seeds == 1
