"""Channels between two layers are scaled where that changes nothing, and left alone where it would."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainers.small import difference, shaken
from trainers.build import build_model
from trainers.equalizing import MOST, ClippedReLU, equalize
from trainers.merging import merge_batch_norm

SHAPE = (3, 8, 8)


def equalized(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> tuple[nn.Module, list[tuple[str, str]]]:
    """After checking that the outputs are the same and the original is as it was."""
    model = shaken(model)
    before = copy.deepcopy(model.state_dict())
    found, pairs = equalize(model, shape)
    assert difference(model, found, shape) < 1e-9
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return found, pairs


def _chain(between: nn.Module, groups: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), between, nn.Conv2d(8, 8, 3, padding=1, groups=groups), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 5),
    )  # fmt: skip


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize(
    "between",
    [nn.ReLU(), nn.Identity(), nn.LeakyReLU(0.1), nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.ReLU(inplace=True))],
)
def test_both_sides_of_a_pair_have_weights_of_one_size(between: nn.Module, groups: int) -> None:
    model = _chain(between, groups)
    cast("Any", model[0]).weight.data[2] *= 50
    found, pairs = equalized(model)
    assert pairs == [("0", "2")]
    first, second = cast("Any", found[0]).weight, cast("Any", found[2]).weight
    sides = _by_input(second, groups)
    assert torch.allclose(first.abs().flatten(1).amax(1), sides, rtol=1e-6)


def _by_input(weight: Tensor, groups: int) -> Tensor:
    own = len(weight) // groups
    return torch.stack(
        [weight[group * own : (group + 1) * own, place].abs().max() for group in range(groups)
         for place in range(weight.shape[1])]
    )  # fmt: skip


@pytest.mark.parametrize("between", [nn.Hardtanh(), nn.Sigmoid(), nn.Hardswish(), nn.Softplus()])
def test_what_does_not_let_a_scale_through_keeps_its_layers_as_they_are(between: nn.Module) -> None:
    found, pairs = equalized(_chain(between))
    assert pairs == [] and torch.equal(cast("Any", found[0]).weight, cast("Any", _chain(between)[0]).weight.double())


@pytest.mark.parametrize("linear", [False, True])
def test_the_ceiling_of_a_relu6_is_scaled_with_its_channel(linear: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 6), nn.ReLU6(), nn.Linear(6, 4)] if linear else [_chain(nn.ReLU6(inplace=True))]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        next(model.parameters())[2] *= 50  # one channel is often above 6
    found, pairs = equalized(model, (3, 5, 8) if linear else SHAPE)
    assert pairs == [("0", "2") if linear else ("0.0", "0.2")]
    (clip,) = (part for part in found.modules() if isinstance(part, ClippedReLU))
    assert len(clip.ceiling.unique()) == len(clip.ceiling) and float(clip.ceiling[2]) < 1


def test_a_relu6_that_is_used_twice_keeps_its_layers_as_they_are() -> None:
    clip = nn.ReLU6()
    model = nn.Sequential(nn.Conv2d(3, 4, 1), clip, nn.Conv2d(4, 4, 1), clip, nn.Conv2d(4, 4, 1), nn.Flatten())
    assert equalized(model)[1] == []


class Read(nn.Module):
    """The first layer's output is read by two others."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.one(x))
        return (self.two(y) + self.three(y)).flatten(1)


def test_an_output_that_several_read_is_left() -> None:
    assert equalized(Read())[1] == []


def test_a_channel_without_weights_is_left_as_it_is() -> None:
    model = _chain(nn.ReLU())
    cast("Any", model[0]).weight.data[1] = 0
    found, _ = equalized(model)
    assert torch.equal(cast("Any", found[2]).weight[:, 1], cast("Any", model[2]).weight[:, 1])
    assert bool(torch.stack([one.isfinite().all() for one in found.parameters()]).all())


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_all_rounds_together_scale_no_more_than_they_may(factor: float) -> None:
    model = _chain(nn.ReLU())
    first = cast("Any", model[0])
    first.weight.data[1] *= factor
    first.bias.data[1] = 0
    found, _ = equalized(model)
    by = first.weight[1] / cast("Any", found[0]).weight[1]
    assert torch.allclose(by, torch.full_like(by, MOST if factor > 1 else 1 / MOST), rtol=1e-6)


def test_the_bias_of_a_channel_that_is_nearly_dead_stays_within_what_the_others_give() -> None:
    model = _chain(nn.ReLU())
    first = cast("Any", model[0])
    first.weight.data[1] *= 1e-12
    first.bias.data[1] = 0.3
    most = float((first.weight.abs().flatten(1).sum(1) + first.bias.abs()).max().detach())
    found, _ = equalized(model)
    assert 0.3 < float(cast("Any", found[0]).bias[1]) <= most * (1 + 1e-9)


def test_a_layer_of_zeros_is_left_as_it_is() -> None:
    model = _chain(nn.ReLU())
    for one in cast("Any", model[0]).parameters():
        one.data.zero_()
    found, _ = equalized(model)
    assert bool(torch.stack([one.isfinite().all() for one in found.parameters()]).all())


@pytest.mark.parametrize(
    ("name", "options", "pairs"),
    [
        ("cifar_resnet", {"depth": 20}, 9),
        ("mobilenet_v1", {"stem": "cifar", "width": 0.25}, 27),
        # Within blocks 1 and 16 times 2, and on both sides of the last convolution; so narrow, all but one block are added to.
        ("mobilenet_v2", {"stem": "cifar", "width": 0.25}, 35),
    ],
)
def test_whole_networks_compute_the_same(name: str, options: dict[str, Any], pairs: int) -> None:
    torch.manual_seed(0)
    model = merge_batch_norm(shaken(build_model(name, options, 10, (3, 32, 32))), (3, 32, 32)).model
    assert len(equalized(model, (3, 32, 32))[1]) == pairs
