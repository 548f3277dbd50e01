"""What every file in `trainers/models/` must do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pqsearch import rooms
from pqsearch.plan import Plan
from trainers.build import build_model
from trainers.compress import compress
from trainers.layers import trace
from trainers.prune import keep_indices, remove_channels

SHAPES = [(1, 8, 8), (3, 32, 32)]

pytestmark = pytest.mark.parametrize("name", rooms.names("models"))


def _build(name: str, shape: tuple[int, ...], classes: int = 7) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, {}, classes, shape).eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_it_maps_images_to_one_finite_logit_per_class(name: str, shape: tuple[int, ...]) -> None:
    output = _build(name, shape)(torch.rand(2, *shape))
    assert output.shape == (2, 7) and bool(output.isfinite().all())


def test_the_seed_decides_its_weights(name: str) -> None:
    first, second = (_build(name, SHAPES[1]).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_it_can_be_searched_and_pruned(name: str) -> None:
    model = _build(name, SHAPES[1])
    traced = trace(model, SHAPES[1])
    plan = Plan({group.name: group.unit / group.channels for group in traced.info.groups if group.prunable})
    assert plan.groups
    smaller = remove_channels(model, traced, keep_indices(traced, plan))
    assert smaller(torch.rand(2, *SHAPES[1])).shape == (2, 7)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


def test_an_empty_plan_is_the_identity(name: str) -> None:
    model = _build(name, SHAPES[1])
    images = torch.rand(2, *SHAPES[1])
    assert torch.equal(compress(model, Plan(), input_shape=SHAPES[1])(images), model(images))


def test_its_loss_reaches_every_parameter(name: str) -> None:
    model = _build(name, SHAPES[1]).train()
    model(torch.rand(4, *SHAPES[1])).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_its_options_are_documented_and_have_defaults(name: str) -> None:
    for option in rooms.signature("models", name):
        assert not option.required
        assert option.doc or option.choices
