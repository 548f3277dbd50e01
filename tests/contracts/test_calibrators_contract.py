"""What every file in `trainers/calibrators/` must do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pqsearch import rooms
from pqsearch.plan import LayerPlan, Plan
from tests.trainers.nets import batch, make
from trainers.compress import calibrate_steps, compress, learns, quantizers
from trainers.layers import trace
from trainers.quantized import quantized_layers

NAMES = rooms.names("calibrators")

#: What learns for minutes learns for a second here.
SHORT: dict[str, dict[str, Any]] = {"brecq": {"iterations": 20, "act_iterations": 5}}

each = pytest.mark.parametrize("name", NAMES)


def _network(bits: int, scale: float = 1.0) -> tuple[nn.Module, Tensor]:
    """Quantised everywhere, with weights so many times as large, and images for it."""
    model, shape = make("digits_net")
    for part in model.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.weight.data *= scale
    layers = {layer.name: LayerPlan(bits, bits) for layer in trace(model, shape).info.layers}
    return compress(model, Plan(layers=layers), input_shape=shape), batch(shape, 8)


def _spread(step: Tensor, weight: Tensor) -> Tensor:
    return step if step.numel() == 1 else step.view(-1, *[1] * (weight.ndim - 1))


def _steps(model: nn.Module) -> dict[str, Tensor]:
    return {name: grid.step.detach().clone() for name, grid in quantizers(model)}


@each
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_every_quantiser_has_a_grid_afterwards_and_the_network_is_as_it_was(name: str, bits: int) -> None:
    model, images = _network(bits)
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items() if "quantizer" not in key}
    wanted = {key: value.requires_grad for key, value in model.named_parameters()}
    calibrate_steps(model, images, name, SHORT.get(name))
    assert model.training
    assert all(value.requires_grad == wanted[key] for key, value in model.named_parameters())
    weights = {f"{where}.weight" for where, _ in quantized_layers(model)} if learns(name) else set()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items() if key not in weights)
    for where, layer in quantized_layers(model):
        moved = (layer.weight - before[f"{where}.weight"]).abs().amax(tuple(range(1, layer.weight.ndim)))
        grid: Any = layer.weight_quantizer
        # Up or down: whatever is learned, a weight that the grid covers stays less than a step from where it was.
        inside = (before[f"{where}.weight"] / _spread(grid.step, layer.weight)).abs().flatten(1).amax(1) <= grid.high
        assert bool((moved[inside] < grid.step.expand(len(moved))[inside] * (1 + 1e-4)).all()), where
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())
    for where, grid in quantizers(model):
        assert grid.ready and bool((grid.step > 0).all()) and bool(grid.step.isfinite().all()), where
    assert bool(model.eval()(images).isfinite().all())


@each
def test_the_same_images_give_the_same_grids(name: str) -> None:
    model, images = _network(4)
    other = copy.deepcopy(model)
    calibrate_steps(model, images, name, SHORT.get(name))
    calibrate_steps(other, [images[:3], images[3:]], name, SHORT.get(name))
    found = _steps(other)
    assert all(torch.equal(step, found[where]) for where, step in _steps(model).items())


@each
def test_weights_twice_as_large_have_steps_twice_as_large(name: str) -> None:
    (model, images), (double, _) = _network(4), _network(4, scale=2.0)
    calibrate_steps(model, images, name, SHORT.get(name))
    calibrate_steps(double, images, name, SHORT.get(name))
    found = _steps(double)
    for where, step in _steps(model).items():
        if where.endswith("weight_quantizer"):
            assert torch.allclose(found[where], 2 * step, rtol=1e-5), where


@each
@pytest.mark.parametrize("values", [0.0, 3.0, -3.0])
def test_values_that_are_all_alike_have_a_grid_too(name: str, values: float) -> None:
    model, images = _network(4)
    layer: Any = model.get_submodule("conv1")
    layer.weight.data.fill_(values)
    calibrate_steps(model, torch.full_like(images, values), name, SHORT.get(name))
    grid = layer.weight_quantizer
    assert bool((grid.step > 0).all()) and bool(grid.step.isfinite().all())
    # Within a step: clipping one end of a single value would be nobody's gain.
    assert bool(((grid(layer.weight) - layer.weight).abs() <= grid.step.view(-1, 1, 1, 1) * (1 + 1e-6)).all())


@each
def test_more_bits_leave_less_error(name: str) -> None:
    errors = []
    for bits in (2, 4, 8):
        model, images = _network(bits)
        wanted = make("digits_net")[0].eval()(images)
        calibrate_steps(model, images, name, SHORT.get(name))
        errors.append(float((model.eval()(images) - wanted).detach().square().mean()))
    assert errors == sorted(errors, reverse=True)


@each
def test_its_options_are_documented_and_have_defaults(name: str) -> None:
    for option in rooms.signature("calibrators", name):
        assert not option.required
        assert option.doc or option.choices
