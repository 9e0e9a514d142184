"""The study of majorise-minimise, EM and gradient descent, shortened."""

from __future__ import annotations

import csv
import operator

import numpy as np
import pytest

import kexue
from kexue.progress import NullProgress
from kexue.studies.mle_to_em import JOINT_STEPS, PRESETS, Config, random_state

SHORT = {
    "points": 120,
    "rows": 100,
    "iterations": 20,
    "documents": 40,
    "words": 60,
    "vocabulary": 80,
    "topics": 3,
    "passes": 30,
    "steps": (100.0, 1000.0),
    "rates": (0.1, 0.5),
    "progress": NullProgress(),
}
TOPICS = ("股票 基金 银行 投资 收益", "足球 比赛 球队 冠军 进球", "手机 屏幕 电池 相机 像素")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts of three kinds, which share no word."""
    folder = tmp_path_factory.mktemp("news 新闻")
    rng = np.random.default_rng(0)
    lines = ["，".join(rng.choice(TOPICS[n % 3].split(), 6)) for n in range(90)]
    (folder / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder):
    pytest.importorskip("jieba")
    options = {**SHORT, "texts": (folder,), "min_count": 2}
    return kexue.studies.run("mle-to-em", out=tmp_path_factory.mktemp("runs"), seeds=2, **options)


def test_it_finishes_with_all_that_it_declares(run):
    assert run.status == "finished"
    names = {metric["name"] for metric in run.metrics}
    assert {"line/newton/gap", "rises/mixture", "excess/descent-2.5", "preconditioned/means", "joint/posterior"} < names
    assert {"annealing/labels", "generated/em", "generated/adam/best", "generated/l-bfgs/best"} < names
    figures = [figure.name for figure in run.figures]
    assert figures[:4] == ["surrogates", "descents", "joint", "passes-generated"]
    assert [table.name for table in run.tables][:2] == ["line", "passes-generated"]
    assert figures[4:] == ["passes-texts-1"]
    assert [table.name for table in run.tables][2:] == ["passes-texts-1", "topics-texts-1"]


def test_everything_is_said_in_both_languages(run, in_both_languages):
    assert len({claim.zh["claim"] for claim in run.claims}) == len(run.claims) == 17
    in_both_languages(run)


@pytest.mark.parametrize(
    "text",
    [
        "run away",
        "come to the minimum",
        "lie above the objective",
        "Touching is not enough",
        "lower their objective at every step",
        "below 2/L",
        "for a mixture is a gradient step",
        "So is that of pLSA",
        "The divergence of the joint laws",
        "Lowered alternately",
        "Its centres come to",
    ],
)
def test_what_does_not_depend_on_the_size_holds_for_every_seed(run, text):
    (claim,) = (claim for claim in run.claims if text in claim.claim)
    holds = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[claim.relation]
    assert all(map(holds, claim.measured, claim.bounds)), claim.line


def test_a_step_that_is_too_long_does_not_come_to_the_minimum(run):
    (claim,) = (claim for claim in run.claims if "whichever step" in claim.claim)
    assert claim.source == "article"
    assert min(claim.measured) > 0.01


def test_the_divergence_is_what_it_is_made_of(run):
    by_name = {
        name: [metric["value"] for metric in run.metrics if metric["name"] == f"joint/{name}" and metric["seed"] == 1]
        for name in ("divergence", "gap", "posterior")
    }
    total, parts = np.array(by_name["divergence"]), np.array(by_name["gap"]) + np.array(by_name["posterior"])
    assert len(total) == 2 * JOINT_STEPS
    np.testing.assert_allclose(total - total[0], parts - parts[0], atol=1e-9)
    assert max(by_name["posterior"][1::2]) < 1e-12  # after every E step
    assert min(by_name["posterior"][2::2]) > 0


def test_topics_of_texts_that_share_no_word(run):
    (table,) = (table for table in run.tables if table.name.startswith("topics-"))
    with (run.directory / table.file).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert "most frequent category" not in rows[0]  # a folder has none
    best = {frozenset(row["words"].split()[:5]) for row in rows}
    assert best == {frozenset(words.split()) for words in TOPICS}


def test_random_states_are_mixtures():
    points = np.random.default_rng(0).standard_normal((50, 3))
    state = random_state(points, 4, np.random.default_rng(1))
    assert state["weights_init"].sum() == pytest.approx(1)
    assert all((points == mean).all(1).any() for mean in state["means_init"])
    assert np.linalg.eigvalsh(state["covariances_init"]).min() > 0.09


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": 9}, "points must be 10 or more, got 9"),
        ({"passes": 9}, "passes must be 10 or more, got 9"),
        ({"topics": 1}, "topics must be 2 or more, got 1"),
        ({"min_count": 0}, "min_count must be 1 or more, got 0"),
        ({"steps": ()}, r"steps must be positive numbers, got \(\)"),
        ({"rates": (0.1, 0.0)}, "rates must be positive numbers"),
        ({"texts": ("csldcp", "csldcp")}, "texts must be different data sets"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_presets():
    assert PRESETS["quick"].seeds == 1
    assert PRESETS["quick"].texts == ()  # needs no data
    assert PRESETS["standard"].seeds >= 5
