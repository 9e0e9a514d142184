"""Schedules: torch's own, without their memory."""

from __future__ import annotations

import pytest
import torch

from kexue.training.schedules import schedule_factor


def rates(scheduler_of, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = scheduler_of(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("constant", lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        ("linear", lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=20)),
        ("cosine", lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)),
    ],
)
def test_names_are_torchs(name, peer):
    factor = schedule_factor(name, steps=20)
    assert [factor(done) for done in range(20)] == pytest.approx(rates(peer, 20), abs=1e-12)


def test_warm_up_rises_to_the_rule():
    factor = schedule_factor("constant", steps=20, warmup=4)
    assert [factor(done) for done in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_a_function_of_the_fraction():
    assert schedule_factor(lambda t: 1 - t**2, steps=10)(5) == 0.75


def test_wrong_arguments():
    with pytest.raises(ValueError, match="schedule must be one of .*'cosine'.* got 'cosin'"):
        schedule_factor("cosin", steps=3)
    with pytest.raises(ValueError, match="steps must be"):
        schedule_factor("cosine", steps=0)
    with pytest.raises(ValueError, match="warmup must be"):
        schedule_factor("cosine", steps=3, warmup=-1)
