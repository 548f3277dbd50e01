"""A network that integers cannot do is told of before anything is trained, by the operation and where it stands."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from trainers.fixed_point.ahead import integer_problem

SHAPE = (3, 8, 8)


def _net(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *parts, nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(256, 5))


class Active(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (nn.SiLU(), "silu has no integer form (behind the layer 0)"),
        (Scaled(), "mul has no integer form (behind the layer 0)"),
        (nn.GroupNorm(2, 4), "group_norm has no integer form (behind the layer 0)"),
        (
            nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4, track_running_stats=False)),
            "the batch norm 1.1 has no running statistics",
        ),
        (Active(4), "the batch norm 1 is a Active, which computes something else than batch norm"),
    ],
)
def test_it_is_told_by_name(part: nn.Module, words: str) -> None:
    problem = integer_problem(_net(part), SHAPE)
    assert problem is not None and problem.startswith(words)


def test_what_is_computed_ahead_of_the_first_layer_is_told_by_the_layer_that_reads_it() -> None:
    found = integer_problem(nn.Sequential(Scaled(), _net()), SHAPE)
    assert found == "1.0 reads what is neither the image nor made by a layer"
    assert integer_problem(nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(192, 5)), SHAPE) is None


@pytest.mark.parametrize(
    "part",
    [nn.Identity(), nn.LeakyReLU(0.1), nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)), nn.BatchNorm2d(4), nn.ReLU6()],
)
def test_what_can_be_done_is_not(part: nn.Module) -> None:
    model = _net(part)
    before = copy.deepcopy(model.state_dict())
    assert integer_problem(model, SHAPE) is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "the model is as it was"
