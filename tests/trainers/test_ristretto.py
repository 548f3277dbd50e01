"""Dynamic fixed point: powers of two, found by trying all that matter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pqsearch.errors import UserError
from trainers.quantizers.ristretto import Quantizer, half_up


def _values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def _calibrated(bits: int, role: str, x: Tensor, saturate: bool = True) -> Quantizer:
    quantizer = Quantizer(bits, role, x.shape[0], 0, saturate=saturate).double()  # type: ignore[arg-type]
    quantizer.calibrate(x)
    return quantizer


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_step_is_a_power_of_two_and_no_other_one_leaves_less_error(bits: int, scale: float) -> None:
    x = scale * _values(16, 40)
    found = _calibrated(bits, "weight", x)
    assert float(found.step) == 2.0**-found.fraction_length

    def error(length: int) -> float:
        step = 2.0**-length
        return float(((x / step + 0.5).floor().clamp(found.low, found.high) * step - x).square().sum())

    around = range(found.fraction_length - 12, found.fraction_length + 13)
    assert error(found.fraction_length) == min(map(error, around))


@pytest.mark.parametrize("role", ["weight", "act"])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_unless_it_may_saturate_nothing_is_clipped_and_half_of_the_range_would_not_do(bits: int, role: str) -> None:
    x = _values(16, 40).abs() if role == "act" else _values(16, 40)
    x[3, 3] = 50.0
    found = _calibrated(bits, role, x, saturate=False)
    assert bool(((x / found.step) <= found.high).all()) and bool(((x / found.step) >= found.low).all())
    assert float(x.max() / (found.step / 2)) > found.high
    assert float(_calibrated(bits, role, x).step) <= float(found.step)


def test_a_far_value_is_clipped_where_that_costs_less() -> None:
    x = _values(100, 100)
    x[0, 0] = 30.0
    assert _calibrated(4, "weight", x).fraction_length > _calibrated(4, "weight", x, saturate=False).fraction_length


def test_what_is_never_negative_gains_a_bit() -> None:
    x = torch.linspace(0, 1, 257, dtype=torch.double)[None, :-1]
    unsigned, signed = _calibrated(8, "act", x), _calibrated(8, "act", torch.cat([x, -x[:, 1:]], 1))
    assert (unsigned.low, unsigned.high, unsigned.fraction_length) == (0, 255, 8)
    assert (signed.low, signed.high, signed.fraction_length) == (-128, 127, 7)


@pytest.mark.parametrize("scale", [0.0, 1e-12])
@pytest.mark.parametrize("saturate", [False, True])
def test_where_all_is_rounded_to_zero_no_step_is_made_fine_for_it(scale: float, saturate: bool) -> None:
    assert _calibrated(8, "weight", scale * _values(4, 16), saturate).fraction_length == 0


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
@pytest.mark.parametrize("bits", [8, 16])
def test_half_precision_has_the_grid_of_single(bits: int, dtype: torch.dtype) -> None:
    x = (1e-4 * _values(4, 16)).to(dtype)
    single, half = Quantizer(bits, "weight", 4, 0), Quantizer(bits, "weight", 4, 0)
    single.calibrate(x.float())
    half.calibrate(x)
    assert half.fraction_length == single.fraction_length > 12
    assert torch.equal(half(x), single(x.float()).to(dtype))


def test_halves_are_rounded_up_as_adding_half_and_shifting_right_does() -> None:
    accumulators = torch.arange(-4096, 4096)
    for shift in (1, 3, 7):
        by_shift = (accumulators + (1 << (shift - 1))) >> shift
        assert torch.equal(half_up(accumulators.double() / 2**shift, -(10**6), 10**6).long(), by_shift)


def test_the_gradient_passes_where_nothing_is_clipped() -> None:
    found = _calibrated(3, "act", _values(2, 3, 4, 4))
    x = (3 * _values(2, 3, 4, 4, seed=1)).requires_grad_()
    upstream = _values(2, 3, 4, 4, seed=2)
    found(x).backward(upstream)
    scaled = x.detach() / found.step
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where((scaled > found.low) & (scaled < found.high), upstream, 0.0))
    assert not list(found.parameters())


@pytest.mark.parametrize("bits", [1, 17])
def test_bits_that_it_does_not_have_are_refused(bits: int) -> None:
    with pytest.raises(UserError, match=f"ristretto has 2 to 16 bits, got {bits}"):
        Quantizer(bits, "weight", 4, 0)


def test_the_fraction_length_may_be_negative() -> None:
    x = torch.tensor([[-100_000.0, 90_000.0]], dtype=torch.double)
    found = _calibrated(4, "weight", x, saturate=False)
    assert found.fraction_length == -math.ceil(math.log2(100_000 / 8)) == -14
