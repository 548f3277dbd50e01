"""Reconstruction brings a network of few bits nearer to float than rounding to the nearest does, and can be broken off."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from pqsearch.plan import LayerPlan, Plan
from tests.trainers.nets import make
from tests.trainers.small import shaken
from tests.trainers.test_segments import Again, Asks
from trainers.blocks import Chain, Layers
from trainers.calibrators._adaround import HIGH, LOW, SoftRounding, exponent_at
from trainers.calibrators._work import Work
from trainers.compress import calibrate_steps, compress
from trainers.layers import trace
from trainers.quantized import quantized_layers, quantizers
from trainers.quantizers import lsq

SHORT: dict[str, Any] = {"iterations": 60, "act_iterations": 20}


class Broken(Exception):
    """Somebody has pulled the plug."""


def quantised(weight_bits: int = 2, act_bits: int = 8, quantizer: str = "lsq") -> tuple[nn.Module, nn.Module, Tensor]:
    """A network in float and quantised, and images for it."""
    torch.manual_seed(0)
    model, shape = make("digits_net")
    model = shaken(model).float()
    layers = {layer.name: LayerPlan(weight_bits, act_bits) for layer in trace(model, shape).info.layers}
    images = torch.randn(96, *shape, generator=torch.Generator().manual_seed(1))
    return model, compress(model, Plan(layers=layers), input_shape=shape, quantizer=quantizer), images


def error(model: nn.Module, network: nn.Module, images: Tensor) -> float:
    """On images that nothing was learned from, relative."""
    fresh = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = model.eval()(fresh)
        return float((network.eval()(fresh) - wanted).square().mean() / wanted.square().mean())


@pytest.mark.parametrize("options", [{}, {"blocks": "layers"}, {"fisher": True}], ids=["graph", "layers", "fisher"])
@pytest.mark.parametrize("quantizer", ["lsq", "ristretto"])
def test_it_is_nearer_to_float_than_rounding_to_the_nearest(options: dict[str, Any], quantizer: str) -> None:
    errors = {}
    for name, more in (("mse", {}), ("brecq", {**SHORT, **options})):
        model, network, images = quantised(quantizer=quantizer, weight_bits=3)
        calibrate_steps(network, images, name, more)
        errors[name] = error(model, network, images)
    assert errors["brecq"] < 0.7 * errors["mse"]


def test_weights_lie_on_their_grids_afterwards() -> None:
    _, network, images = quantised(weight_bits=3)
    calibrate_steps(network, images, "brecq", SHORT)
    for _, layer in quantized_layers(network):
        grid: Any = layer.weight_quantizer
        assert torch.allclose(grid(layer.weight), layer.weight, rtol=1e-5, atol=1e-7)


def test_activation_steps_are_learned_where_the_quantiser_has_any_to_learn() -> None:
    found = []
    for iterations in (0, 30):
        _, network, images = quantised(act_bits=3)
        calibrate_steps(network, images, "brecq", {"iterations": 1, "act_iterations": iterations})
        found.append(
            [float(grid.step.detach()) for name, grid in quantizers(network) if name.endswith("act_quantizer")]
        )
    assert all(one != other for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(
    "place", [1, pytest.param(5, marks=pytest.mark.release), pytest.param(9, marks=pytest.mark.release), 14]
)
def test_broken_off_anywhere_it_ends_as_if_it_had_not_been(place: int, tmp_path: Path) -> None:
    _, whole, images = quantised(act_bits=4)
    _, broken, _ = quantised(act_bits=4)
    untouched = copy.deepcopy(broken.state_dict())
    parts = []

    def pull(done: int, total: int) -> None:
        parts.append((done, total))
        if done == place:
            raise Broken

    calibrate_steps(whole, images, "brecq", SHORT)
    with pytest.raises(Broken):
        calibrate_steps(broken, images, "brecq", SHORT, Work(pull, tmp_path / "kept.pth"))
    _, again, _ = quantised(act_bits=4)
    assert all(torch.equal(value, untouched[key]) for key, value in again.state_dict().items())
    calibrate_steps(again, images, "brecq", SHORT, Work(pull, tmp_path / "kept.pth"))
    assert parts == [(number, 16) for number in range(1, 17)]
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in again.state_dict().items())
    _, finished, _ = quantised(act_bits=4)
    calibrate_steps(finished, images, "brecq", SHORT, Work(pull, tmp_path / "kept.pth"))
    assert len(parts) == 16, "what is done is not done again"
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in finished.state_dict().items())


def test_a_graph_that_cannot_be_followed_is_done_layer_by_layer_and_said(caplog: pytest.LogCaptureFixture) -> None:
    network = _compressed(Classifies(), {"conv", "head"})
    with caplog.at_level(logging.WARNING):
        calibrate_steps(network, torch.randn(64, 3, 8, 8), "brecq", {**SHORT, "fisher": True})
    assert "layer by layer, since the network's graph cannot be followed" in caplog.text
    assert "fisher is left out" in caplog.text
    assert all(grid.ready for _, grid in quantizers(network))


def test_a_part_that_cannot_be_followed_is_one_block_and_named(caplog: pytest.LogCaptureFixture) -> None:
    network = _compressed(nn.Sequential(Asks(), nn.Flatten(), nn.Linear(4 * 64, 3)), {"0.conv", "2"})
    with caplog.at_level(logging.WARNING):
        calibrate_steps(network, torch.randn(64, 3, 8, 8), "brecq", SHORT)
    assert "brecq: 0 is one block with all that is in it" in caplog.text
    assert "layer by layer" not in caplog.text
    assert all(grid.ready for _, grid in quantizers(network))


def test_a_layer_used_twice_has_steps_for_either_use() -> None:
    torch.manual_seed(0)
    network = _compressed(Again(), {"first", "twice", "head"})
    calibrate_steps(network, torch.randn(64, 3, 8, 8), "brecq", SHORT)
    assert dict(quantizers(network))["twice.act_quantizer"].signed


def _compressed(model: nn.Module, layers: set[str]) -> nn.Module:
    return compress(model, Plan(layers={name: LayerPlan(3, 8) for name in layers}), input_shape=(3, 8, 8))


class Classifies(Asks):
    """Looks at values in its own forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.head(super().forward(x).flatten(1)))


def test_every_block_sees_what_the_quantised_ones_before_it_give() -> None:
    model, network, images = quantised()
    calibrate_steps(network, images, "minmax")
    network.eval()
    for walk, blocks in ((Chain(network, images, fisher=False), 8), (Layers(network, images), 16)):
        steps = list(walk.steps())
        assert len(steps) == len(walk) == blocks
        assert torch.equal(steps[0].inputs, images)
        # The last block's outputs are the networks' own.
        with torch.no_grad():
            assert torch.allclose(steps[-1].block(steps[-1].inputs), network(images), atol=1e-5)
            assert torch.allclose(steps[-1].wanted, model.eval()(images), atol=1e-5)


def test_values_that_move_the_loss_count_for_more() -> None:
    _, network, images = quantised()
    steps = list(Chain(network.eval(), images, fisher=True).steps())
    for step in steps:
        assert step.weights is not None and step.weights.shape == step.wanted.shape
        assert float(step.weights.mean()) == pytest.approx(1, rel=1e-4)
    # Of the last block's, cross-entropy's own: (probability - answer) squared.
    last = steps[-1]
    assert last.weights is not None
    answers = torch.nn.functional.one_hot(last.wanted.argmax(1), last.wanted.shape[1])
    gradients = (last.wanted.softmax(1) - answers).square()
    assert torch.allclose(last.weights, gradients / gradients.mean(), rtol=1e-3, atol=1e-6)


def test_soft_rounding_begins_at_the_weights_and_its_gradient_is_the_sigmoids() -> None:
    weight = torch.tensor([[0.12, -0.4, 0.93, -1.2]])
    grid = lsq.Quantizer(3, "weight", 1, 0, per_channel=False)
    grid.calibrate(weight)
    soft = SoftRounding(weight, grid, (grid.low, grid.high))
    clipped = weight.clamp(grid.low * grid.step.item(), grid.high * grid.step.item())
    assert torch.allclose(soft(weight), clipped, atol=0.02 * grid.step.item())
    with torch.no_grad():
        soft.alpha.copy_(torch.tensor([[-0.5, 0.0, 0.7, 0.2]]))
    soft.up().sum().backward()
    sigmoid = soft.alpha.detach().sigmoid()
    assert soft.alpha.grad is not None
    assert torch.allclose(soft.alpha.grad, (HIGH - LOW) * sigmoid * (1 - sigmoid), atol=1e-6)
    # Between its ends it is a derivative like any other: finite differences agree.
    small = 1e-3
    with torch.no_grad():
        before = soft.up().clone()
        soft.alpha += small
        assert torch.allclose((soft.up() - before) / small, soft.alpha.grad, atol=1e-2)


def test_the_penalty_vanishes_up_and_down_and_sets_in_after_a_fifth() -> None:
    weight = torch.tensor([[0.2, 0.7]])
    grid = lsq.Quantizer(4, "weight", 1, 0, per_channel=False)
    grid.calibrate(weight)
    soft = SoftRounding(weight, grid, (grid.low, grid.high))
    with torch.no_grad():
        soft.alpha.copy_(torch.tensor([[-9.0, 9.0]]))
        assert float(soft.penalty(2.0)) == 0
        soft.alpha.zero_()
        assert float(soft.penalty(2.0)) == pytest.approx(2)
    assert [exponent_at(step, 100) for step in (0, 19)] == [None, None]
    assert exponent_at(20, 100) == 20 and exponent_at(99, 100) == pytest.approx(2, abs=0.5)
