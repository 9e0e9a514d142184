"""Settings of a training: what they hold, and their differences in words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kexue.training.settings import describe_models, describe_optimizers, differences


def described(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    return {"models": describe_models({"model": model}), "optimizers": describe_optimizers({"critic": optimizer})}


def test_equal_settings_do_not_differ():
    model = nn.Linear(4, 4)
    first, second = (described(model, torch.optim.Adam(model.parameters())) for _ in range(2))
    assert first == second
    assert differences(first, second) == ""
    assert first["models"] == {"model": ["Linear", 20]}


def test_differences_are_said_in_words_with_their_place():
    small, large = nn.Linear(4, 3), nn.Linear(4, 4)
    then = described(small, torch.optim.Adam(small.parameters(), 0.1, betas=(0.8, 0.9)))
    now = described(large, torch.optim.Adam(large.parameters(), 0.2, betas=(0.7, 0.9), weight_decay=torch.tensor(0.5)))
    assert differences(then, now).split("; ") == [
        "number of parameters (models.model.1) was 15 and is 20",
        "learning rate (optimizers.critic.1.0.lr) was 0.1 and is 0.2",
        "beta (optimizers.critic.1.0.betas.0) was 0.8 and is 0.7",
        "weight_decay (optimizers.critic.1.0.weight_decay) was 0 and is 0.5",
    ]


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (
            {"average": {}},
            {"average": {"a": 0.9}},
            "decay of the averaged weights (average.a) was not given and is 0.9",
        ),
        ({"clip": {"a": 1.0}}, {"clip": {}}, "largest norm of the gradients (clip.a) was 1.0 and is not given"),
        ({"average": {}, "keep": []}, {"average": {}, "keep": []}, ""),
        ({"models": {"a.b": ["Linear", 1]}}, {"models": {"a.b": ["GRU", 1]}}, None),
        ({"steps": 3}, {"steps": 4}, "steps was 3 and is 4"),
        ({"items": 3}, {"items": 4}, "number of items in the data (items) was 3 and is 4"),
    ],
)
def test_differences(then, now, said):
    if said is None:
        said = "class of the model (models.a.b.0) was 'Linear' and is 'GRU'"
    assert differences(then, now) == said
