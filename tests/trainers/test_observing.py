"""What is told of values and grids is what the layers compute with."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from pqsearch.plan import LayerPlan, Plan
from tests.trainers.nets import batch, make
from trainers.compress import calibrate_steps, compress
from trainers.observing import BINS, observe_layers
from trainers.quantized import masked, quantize

PLAN = Plan(layers={"conv1": LayerPlan(4, 32), "layer1.0.conv1": LayerPlan(3, 5), "linear": LayerPlan(8, 8)})


@pytest.fixture
def seen() -> tuple[nn.Module, dict[str, Any]]:
    model, shape = make("digits_net")
    model = compress(model, PLAN, input_shape=shape)
    images = batch(shape, 8)
    calibrate_steps(model, images)
    model.train()
    found = {layer.name: layer for layer in observe_layers(model, images)}
    assert model.training and not any(part._forward_pre_hooks for part in model.modules())
    return model, found


def test_every_layer_is_told_of_and_only_quantised_ones_have_a_grid(seen: tuple[nn.Module, dict[str, Any]]) -> None:
    model, found = seen
    assert list(found) == [name for name, part in model.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert (found["conv1"].weight.bits, found["conv1"].act.bits) == (4, 32)
    assert found["conv1"].act.sqnr is None and found["conv1"].act.low is None
    assert (found["layer1.0.conv1"].weight.low, found["layer1.0.conv1"].weight.high) == (-4, 3)
    assert found["layer1.0.conv1"].act.high == 31  # behind a ReLU there is no sign
    assert all(len(layer.weight.counts) == BINS == len(layer.weight.edges) - 1 for layer in found.values())


def test_noise_is_that_of_the_grid(seen: tuple[nn.Module, dict[str, Any]]) -> None:
    model, found = seen
    layer = cast("Any", model.get_submodule("layer1.0.conv1"))
    weight = layer.weight.detach()
    lost = (layer.weight_quantizer(weight).detach() - weight).double().square()
    side = found["layer1.0.conv1"].weight
    assert side.error == pytest.approx(float(lost.mean()))
    assert side.sqnr == pytest.approx(10 * math.log10(float(weight.double().square().sum() / lost.sum())))
    assert found["linear"].weight.sqnr > side.sqnr + 20, "five bits more"


def test_masked_weights_are_no_noise_on_a_grid_without_a_zero() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    quantize(model, "0", LayerPlan(1, 8, 0.5), "lsq", {})
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    calibrate_steps(model, images)
    layer = cast("Any", model[0])
    weight = masked(layer, layer.weight.detach())
    lost = (masked(layer, layer.weight_quantizer(weight).detach()) - weight).double().square()
    (found,) = observe_layers(model, images)
    assert found.weight.error == pytest.approx(float(lost.mean())) and found.weight.zeros == 0.5


def test_histograms_are_in_steps_and_ranges_in_values(seen: tuple[nn.Module, dict[str, Any]]) -> None:
    model, found = seen
    layer = cast("Any", model.get_submodule("conv1"))
    scaled = layer.weight.detach() / layer.weight_quantizer.step.detach().view(-1, 1, 1, 1)
    side = found["conv1"].weight
    assert side.counts.sum() == scaled.numel() and side.zeros == 0
    after_relu = found["layer1.0.conv1"].act
    assert 0.1 < after_relu.zeros < 0.9 and after_relu.edges[0] > 0
    assert (side.edges[0], side.edges[-1]) == pytest.approx((float(scaled.min()), float(scaled.max())))
    rows = layer.weight.detach().flatten(1)
    assert np.allclose(side.ranges, torch.stack([rows.amin(1), rows.amax(1)], 1).numpy())
