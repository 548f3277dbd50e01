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
    """Every quantiser at bit widths from its fewest to its most, as its constant `BITS` says."""
    found = []
    for name in rooms.names("quantizers"):
        fewest, most = rooms.constants("quantizers", name)["BITS"]
        found += [(name, bits) for bits in sorted({fewest, 2, 3, 4, 6, 8, most}) if fewest <= bits <= most]
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


@pytest.mark.parametrize("role", ["weight", "act"])
def test_it_is_monotone(name: str, bits: int, role: str) -> None:
    quantizer = _calibrated(name, bits, role, _values(role))
    rows = torch.linspace(-6, 6, 2001).repeat(6, 1).view(6, 2001, 1, 1)
    found = (
        quantizer(rows).detach() if quantizer.axis == 0 or quantizer.axis is None else quantizer(rows[:, :4]).detach()
    )
    # One-bit weights have the size of all of them: what is compared are the ends of one tensor.
    assert bool((found.flatten(1).diff(dim=1) >= 0).all())


@pytest.mark.parametrize("role", ["weight", "act"])
@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_a_tensor_of_one_value_has_a_grid_that_nearly_holds_it(name: str, bits: int, role: str, value: float) -> None:
    x = torch.full((6, 4, 3, 3), value)
    quantizer = _calibrated(name, bits, role, x)
    found = quantizer(x).detach()
    assert bool(found.isfinite().all()) and bool((quantizer.step > 0).all())
    assert bool(((found - x).abs() <= quantizer.step.max()).all())


def test_what_is_never_negative_uses_all_bits_and_what_is_always_negative_has_a_sign(name: str, bits: int) -> None:
    positive = _calibrated(name, bits, "act", _values("act").abs())
    assert not positive.signed and bool((positive(-torch.ones(1, 4, 1, 1)) <= positive.step).all())
    negative = _calibrated(name, bits, "act", -_values("act").abs() - 0.1)
    assert negative.signed and bool((negative(_values("act").abs().neg() - 0.1) <= 0).all())


@pytest.mark.parametrize("role", ["weight", "act"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_has_no_grid_for_what_is_not_finite(name: str, bits: int, role: str, value: float) -> None:
    x = _values(role)
    x[1, 2, 0, 0] = value
    with pytest.raises(FloatingPointError, match="infinite or not a number"):
        _calibrated(name, bits, role, x)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision_goes_in_and_comes_out_on_the_grid_of_the_single_one(
    name: str, bits: int, dtype: torch.dtype
) -> None:
    quantizer = _calibrated(name, bits, "act", _values("act"))
    x = _values("act").to(dtype)
    found = quantizer(x)
    assert found.dtype == dtype
    assert torch.equal(found, quantizer(x.float()).to(dtype))


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
