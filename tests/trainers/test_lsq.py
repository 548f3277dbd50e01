from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pqsearch.errors import UserError
from trainers.quantizers.lsq import Quantizer


def _values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def _weight_quantizer(bits: int, x: Tensor, per_channel: bool = True) -> Quantizer:
    quantizer = Quantizer(bits, "weight", x.shape[0], 0, per_channel=per_channel).double()
    quantizer.calibrate(x)
    return quantizer


def _act_quantizer(bits: int, x: Tensor) -> Quantizer:
    quantizer = Quantizer(bits, "act", x.shape[1], 1).double()
    quantizer.calibrate(x)
    return quantizer


def _by_formula(x: Tensor, step: Tensor, upstream: Tensor, low: int, high: int, n: int) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the one step, element by element, as Esser et al. write them (equations 3 and 5)."""
    by_x, by_step = torch.zeros_like(x), 0.0
    for index, value in enumerate((x / step).flatten().tolist()):
        gradient = float(upstream.flatten()[index])
        if value <= low:
            by_step += gradient * low
        elif value >= high:
            by_step += gradient * high
        else:
            by_step += gradient * (round(value) - value)
            by_x.view(-1)[index] = gradient
    return by_x, torch.tensor(by_step / math.sqrt(n * high), dtype=x.dtype)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_gradients_of_an_activation_and_its_step_are_those_of_the_paper(bits: int, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = _values(2, 3, 4, 4).contiguous(memory_format=layout).requires_grad_()
    quantizer = _act_quantizer(bits, x.detach())
    quantizer.step.data *= 0.6  # some values saturate
    upstream = _values(2, 3, 4, 4, seed=1)
    quantizer(x).backward(upstream)
    by_x, by_step = _by_formula(
        x.detach().contiguous(), quantizer.step.detach(), upstream, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 3 * 4 * 4
    )
    assert x.grad is not None and quantizer.step.grad is not None
    assert torch.allclose(x.grad, by_x)
    assert torch.allclose(quantizer.step.grad, by_step)


@pytest.mark.parametrize("per_channel", [False, True])
def test_gradients_of_weight_steps_are_those_of_the_paper_for_each_step(per_channel: bool) -> None:
    weight = _values(4, 3, 3, 3).requires_grad_()
    quantizer = _weight_quantizer(3, weight.detach(), per_channel)
    quantizer.step.data *= 0.6
    upstream = _values(4, 3, 3, 3, seed=1)
    quantizer(weight).backward(upstream)
    assert weight.grad is not None and quantizer.step.grad is not None
    parts = [slice(i, i + 1) for i in range(4)] if per_channel else [slice(None)]
    for number, part in enumerate(parts):
        rows = weight.detach()[part]
        by_x, by_step = _by_formula(rows, quantizer.step.detach()[number], upstream[part], -4, 3, rows.numel())
        assert torch.allclose(weight.grad[part], by_x)
        assert torch.allclose(quantizer.step.grad[number], by_step)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_quantised_values_are_whole_multiples_of_the_step_in_range(bits: int, signed: bool) -> None:
    x = _values(2, 3, 8, 8) if signed else _values(2, 3, 8, 8).relu()
    quantizer = _act_quantizer(bits, x)
    whole = quantizer(x * 3).detach() / quantizer.step.detach()
    assert torch.allclose(whole, whole.round(), atol=1e-9)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    assert (quantizer.low, quantizer.high) == (low, high)
    assert float(whole.min()) >= low - 1e-9 and float(whole.max()) == pytest.approx(high)


def test_signedness_is_what_calibration_saw_and_survives_the_state_dict() -> None:
    positive, mixed = _values(2, 3, 4, 4).abs(), _values(2, 3, 4, 4)
    unsigned, signed = _act_quantizer(4, positive), _act_quantizer(4, mixed)
    assert (unsigned.signed, signed.signed) == (False, True)
    for quantizer in (unsigned, signed):
        fresh = Quantizer(4, "act", 3, 1).double()
        assert not fresh.ready and torch.equal(fresh(mixed), mixed)
        fresh.load_state_dict(quantizer.state_dict())
        assert fresh.ready and fresh.signed == quantizer.signed
        assert torch.equal(fresh(mixed), quantizer(mixed))


def test_one_negative_activation_among_many_makes_the_grid_signed() -> None:
    x = torch.rand(4, 8, 64, 64)
    x[3, 5, 17, 33] = -0.01
    quantizer = Quantizer(4, "act", 8, 1)
    quantizer.calibrate(x)
    assert quantizer.signed


def test_weights_are_signed_whatever_their_values() -> None:
    assert _weight_quantizer(4, _values(4, 8).abs()).signed


def test_there_is_a_step_per_output_channel_or_one_for_the_layer() -> None:
    weight = _values(4, 3, 3, 3) * torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1, 1)
    per_channel, per_tensor = _weight_quantizer(4, weight), _weight_quantizer(4, weight, per_channel=False)
    assert per_channel.step.shape == (4,) and per_channel.axis == 0
    assert per_tensor.step.shape == (1,) and per_tensor.axis is None
    assert bool((per_channel.step.diff() > 0).all())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_steps_start_at_a_smaller_error_than_those_of_the_paper(bits: int) -> None:
    for x in (_values(1, 4, 32, 32), _values(1, 4, 32, 32).relu(), _values(1, 4, 32, 32) ** 3):
        quantizer = _act_quantizer(bits, x)
        ours = (quantizer(x) - x).square().mean()
        quantizer.step.data.fill_(float(2 * x.abs().mean() / math.sqrt(quantizer.high)))
        assert ours < (quantizer(x) - x).square().mean()


def test_channels_of_zeros_are_quantised_to_zeros() -> None:
    weight = _values(4, 8)
    weight[1] = 0
    quantised = _weight_quantizer(2, weight)(weight)
    assert bool(quantised.isfinite().all()) and not bool(quantised[1].any())


def test_a_step_that_training_drove_below_zero_gives_finite_values_and_gradients() -> None:
    x = _values(2, 3, 4, 4).requires_grad_()
    quantizer = _act_quantizer(4, x.detach())
    quantizer.step.data.fill_(-1.0)
    output = quantizer(x)
    output.sum().backward()
    assert x.grad is not None and quantizer.step.grad is not None
    assert bool(output.isfinite().all()) and bool(quantizer.step.grad.isfinite().all())


@pytest.mark.parametrize("bits", [0, 9, 32])
def test_bits_that_lsq_does_not_have_are_refused(bits: int) -> None:
    with pytest.raises(UserError, match=f"lsq has 1 to 8 bits, got {bits}"):
        Quantizer(bits, "act", 3, 1)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_short_floats_in_give_short_floats_out_and_nearly_the_same_gradients(bits: int) -> None:
    x = _values(8, 3, 4, 4).to(torch.bfloat16)
    upstream = _values(8, 3, 4, 4, seed=1)
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        leaf = x.to(dtype).detach().requires_grad_()
        quantizer = Quantizer(bits, "act", 3, 1)
        quantizer.calibrate(x.float())
        output = quantizer(leaf)
        output.backward(upstream.to(dtype))
        assert output.dtype is dtype and leaf.grad is not None and leaf.grad.dtype is dtype
        assert quantizer.step.grad is not None and quantizer.step.grad.dtype is torch.float32
        found[dtype] = output.float(), leaf.grad.float(), quantizer.step.grad
    for short, long in zip(found[torch.bfloat16], found[torch.float32], strict=True):
        torch.testing.assert_close(short, long, rtol=0.02, atol=0.05)
