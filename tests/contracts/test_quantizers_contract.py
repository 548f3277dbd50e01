"""What every file in `trainers/quantizers/` must do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch import rooms
from pqsearch.plan import LayerPlan, Plan
from tests.trainers.nets import batch, make
from trainers.compress import calibrate_steps, compress, step_parameters
from trainers.layers import trace


def _cases() -> list[tuple[str, int]]:
    """Every quantiser at each of its bit widths, as its constant `BITS` (fewest, most) says."""
    found = []
    for name in rooms.names("quantizers"):
        fewest, most = rooms.constants("quantizers", name)["BITS"]
        found += [(name, bits) for bits in range(fewest, most + 1)]
    return found


pytestmark = pytest.mark.parametrize(("name", "bits"), _cases())


def _calibrated(name: str, bits: int, role: str, x: Tensor) -> Any:
    axis = 0 if role == "weight" else 1
    quantizer = rooms.load("quantizers", name)(bits, role, x.shape[axis], axis)
    quantizer.calibrate(x)
    return quantizer


def _values(role: str) -> Tensor:
    return torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("role", ["weight", "act"])
def test_it_has_at_most_two_to_the_bits_values_per_step_and_repeats_itself(name: str, bits: int, role: str) -> None:
    x = _values(role)
    quantizer = _calibrated(name, bits, role, x)
    once = quantizer(x).detach()
    rows = once if quantizer.axis == 0 else once.unsqueeze(0)
    assert all(len(row.unique()) <= 2**bits for row in rows)
    assert torch.equal(once, quantizer(x).detach())
    assert torch.allclose(once, quantizer(once).detach(), atol=1e-6)


@pytest.mark.parametrize("role", ["weight", "act"])
def test_its_grid_can_be_read_from_outside(name: str, bits: int, role: str) -> None:
    x = _values(role)
    quantizer = _calibrated(name, bits, role, x)
    assert quantizer.bits == bits and isinstance(quantizer.signed, bool) and quantizer.ready
    assert bool((quantizer.step > 0).all())
    steps = x.shape[quantizer.axis] if quantizer.axis is not None else 1
    assert quantizer.step.numel() == steps


@pytest.mark.parametrize("role", ["weight", "act"])
def test_it_is_the_identity_until_calibrated_and_its_state_dict_is_all_it_needs(
    name: str, bits: int, role: str
) -> None:
    x = _values(role)
    quantizer = _calibrated(name, bits, role, x)
    axis = 0 if role == "weight" else 1
    fresh = rooms.load("quantizers", name)(bits, role, x.shape[axis], axis)
    assert torch.equal(fresh(x), x)
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(fresh(x), quantizer(x)) and fresh.signed == quantizer.signed


def test_it_passes_gradients_on(name: str, bits: int) -> None:
    x = _values("act").requires_grad_()
    _calibrated(name, bits, "act", x.detach())(x).square().sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all()) and bool(x.grad.any())


def test_a_network_trains_with_it_and_copies_of_it_agree(name: str, bits: int) -> None:
    model, shape = make("concat_flatten")
    layers = {layer.name: LayerPlan(bits, bits) for layer in trace(model, shape).info.layers}
    images, labels = batch(shape, 8), torch.arange(8) % 5

    def trained() -> nn.Module:
        compressed = compress(model, Plan(layers=layers), input_shape=shape, quantizer=name)
        calibrate_steps(compressed, images)
        compressed.train()
        optimizer = torch.optim.SGD(compressed.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            functional.cross_entropy(compressed(images), labels).backward()
            optimizer.step()
        return compressed.eval()

    first, second = trained(), trained()
    assert bool(first(images).isfinite().all())
    assert torch.equal(first(images), second(images))
    assert all(step.requires_grad for step in step_parameters(first))


def test_its_options_are_documented_and_have_defaults(name: str, bits: int) -> None:
    for option in rooms.signature("quantizers", name):
        assert not option.required
        assert option.doc or option.choices
