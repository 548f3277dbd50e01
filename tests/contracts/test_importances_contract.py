"""What every file in `trainers/importances/` must do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pqsearch import rooms
from pqsearch.plan import Plan
from tests.trainers.nets import NETS, batch, make
from trainers.layers import trace
from trainers.prune import channel_scores, keep_indices, needs_gradients, remove_channels

pytestmark = pytest.mark.parametrize("name", rooms.names("importances"))


def _rows(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, values, generator=generator) for values in (27, 54, 10)]


def _score(name: str, weights: list[Tensor], gradients: list[Tensor]) -> Tensor:
    return rooms.load("importances", name)(weights, gradients if needs_gradients(name) else None)


def test_it_gives_one_finite_score_per_channel_and_none_is_negative(name: str) -> None:
    scores = _score(name, _rows(0), _rows(1))
    assert scores.shape == (6,) and bool(scores.isfinite().all()) and bool((scores >= 0).all())


def test_the_order_of_channels_and_of_layers_does_not_matter(name: str) -> None:
    weights, gradients = _rows(0), _rows(1)
    scores = _score(name, weights, gradients)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = _score(name, [w[order] for w in weights], [g[order] for g in gradients])
    assert torch.allclose(moved, scores[order], atol=1e-6)
    assert torch.allclose(_score(name, weights[::-1], gradients[::-1]), scores, atol=1e-6)


def test_every_layer_of_the_group_counts(name: str) -> None:
    weights, gradients = _rows(0), _rows(1)
    scores = _score(name, weights, gradients)
    for layer in range(3):
        changed = [weight.clone() for weight in weights]
        changed[layer][2] *= 3
        assert not torch.allclose(_score(name, changed, gradients), scores)


def test_channels_of_zeros_are_no_error(name: str) -> None:
    weights = [torch.zeros_like(weight) for weight in _rows(0)]
    assert bool(_score(name, weights, _rows(1)).isfinite().all())


@pytest.mark.parametrize("net", NETS)
def test_it_scores_every_prunable_group_of_every_network(name: str, net: str) -> None:
    model, shape = make(net)
    traced = trace(model, shape)
    scores = channel_scores(model, traced, name, batch=(batch(shape), torch.arange(4)))
    groups = {group.name: group for group in traced.info.groups if group.prunable}
    assert scores.keys() == groups.keys()
    assert all(scores[key].shape == (group.channels,) for key, group in groups.items())
    plan = Plan({key: group.unit / group.channels for key, group in groups.items()})
    assert remove_channels(model, traced, keep_indices(traced, plan, scores))(batch(shape)).shape == (4, 5)


def test_its_options_are_documented_and_have_defaults(name: str) -> None:
    for option in rooms.signature("importances", name):
        assert not option.required
        assert option.doc or option.choices
