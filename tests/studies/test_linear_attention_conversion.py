"""A model that is converted to linear attention."""

from __future__ import annotations

import pytest

from kexue.studies.linear_attention import Config
from kexue.studies.linear_attention_conversion import _converted

SMALL = Config(
    width=16, layers=1, heads=2, length=16, batch=4, steps=40, fine_tuning=20, tested=8, features=8, lengths=(8, 16)
)


@pytest.fixture(scope="module")
def found():
    return _converted(SMALL, None, 1)


@pytest.mark.parametrize("name", ["elu", "favor"])
def test_curves_begin_before_training_and_end_after_it(found, name):
    assert [step for step, _ in found[f"{name}/tuned"]] == [0, 2, 4, 8, 14, 20]
    assert [step for step, _ in found[f"{name}/scratch"]] == [0, 2, 4, 8, 14, 20, 30, 40]


@pytest.mark.parametrize("name", ["elu", "favor"])
def test_what_was_learnt_with_the_softmax_is_not_lost(found, name):
    converted, scratch = found[f"{name}/tuned"], found[f"{name}/scratch"]
    assert converted[0][1] != pytest.approx(found["softmax"], abs=1e-6)  # it is another attention
    assert converted[0][1] < scratch[0][1] - 0.5
    assert converted[-1][1] < converted[0][1]
    assert converted[-1][1] < scratch[5][1]  # after as many steps
