"""One bit: values and gradients by the equations of the papers, written out one value at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.quantizers.lsq import Quantizer


def _values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def _quantizer(role: str, x: Tensor, per_channel: bool = True) -> Quantizer:
    found = Quantizer(1, role, x.shape[0 if role == "weight" else 1], 0, per_channel=per_channel).double()  # type: ignore[arg-type]
    found.calibrate(x)
    return found


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_their_sign_times_the_mean_size_of_their_channel_or_layer(per_channel: bool) -> None:
    weight = _values(4, 3, 3, 3)
    quantizer = _quantizer("weight", weight, per_channel)
    found = quantizer(weight)
    for channel in range(4):
        size = (weight[channel] if per_channel else weight).abs().mean()
        assert torch.allclose(found[channel], weight[channel].sign() * size)
        assert float(quantizer.step[channel if per_channel else 0]) == pytest.approx(float(size))


def test_the_mean_size_of_weights_follows_them_through_training_and_is_no_parameter() -> None:
    weight = _values(2, 8)
    quantizer = _quantizer("weight", weight)
    assert list(quantizer.parameters()) == []
    assert torch.allclose(quantizer(3 * weight), 3 * quantizer(weight))
    quantizer(3 * weight)
    assert torch.allclose(quantizer.step, 3 * weight.abs().mean(1))


@pytest.mark.parametrize("per_channel", [True, False])
def test_gradients_of_weights_are_those_of_the_sign_within_one_size_and_of_the_mean(per_channel: bool) -> None:
    """q_i = a sign(w_i), a = mean|w|: dL/dw_i = g_i [|w_i| <= a] + sign(w_i) / n sum_j g_j sign(w_j)."""
    weight, upstream = _values(2, 5).requires_grad_(), _values(2, 5, seed=1)
    _quantizer("weight", weight.detach(), per_channel)(weight).backward(upstream)
    assert weight.grad is not None
    w = weight.detach()
    for row in range(2):
        for column in range(5):
            mine = [(row, k) for k in range(5)] if per_channel else [(r, k) for r in range(2) for k in range(5)]
            size = sum(abs(float(w[at])) for at in mine) / len(mine)
            through = float(upstream[row, column]) if abs(float(w[row, column])) <= size else 0.0
            sign = 1.0 if w[row, column] >= 0 else -1.0
            by_mean = sign / len(mine) * sum(float(upstream[at]) * (1.0 if w[at] >= 0 else -1.0) for at in mine)
            assert float(weight.grad[row, column]) == pytest.approx(through + by_mean, rel=1e-9)


@pytest.mark.parametrize("signed", [True, False])
def test_gradients_of_inputs_pass_within_one_step_and_the_steps_are_those_of_learned_steps(signed: bool) -> None:
    """Signed: q = s sign(x). Else q = s [x >= s / 2]. dL/dx = g within the step, dL/ds = sum g (q / s - x / s) within it and
    g q / s beyond, times 1 / sqrt(values of one image).
    """
    x, upstream = _values(3, 4, 2, 2), _values(3, 4, 2, 2, seed=1)
    x = (x if signed else x.relu()).requires_grad_()
    quantizer = _quantizer("act", x.detach())
    assert quantizer.signed is signed
    step = float(quantizer.step.detach())
    quantizer(x).backward(upstream)
    assert x.grad is not None and quantizer.step.grad is not None
    total = 0.0
    for value, gradient, found in zip(x.detach().flatten(), upstream.flatten(), x.grad.flatten(), strict=True):
        scaled = float(value) / step
        inside = abs(scaled) <= 1 if signed else 0 < scaled < 1
        level = (1.0 if scaled >= 0 else -1.0) if signed else (1.0 if scaled >= 0.5 else 0.0)
        assert float(found) == pytest.approx(float(gradient) if inside else 0.0)
        total += float(gradient) * (level - scaled if inside else level)
    assert float(quantizer.step.grad) == pytest.approx(total / (4 * 2 * 2) ** 0.5, rel=1e-9)


def test_inputs_are_nothing_or_one_step_after_relu_and_a_step_up_or_down_where_some_are_negative() -> None:
    mixed = _values(4, 3, 6, 6)
    up_down, on_off = _quantizer("act", mixed), _quantizer("act", mixed.relu())
    step, up = float(up_down.step.detach()), float(on_off.step.detach())
    assert up_down(mixed).unique().tolist() == pytest.approx([-step, step])
    assert on_off(mixed.relu()).unique().tolist() == pytest.approx([0.0, up])
    assert (up_down.low, up_down.high, on_off.low, on_off.high) == (-1, 1, 0, 1)


@pytest.mark.parametrize("case", ["weights", "signed", "unsigned"])
def test_steps_start_where_the_squared_error_is_smallest(case: str) -> None:
    x = _values(1, 8, 12, 12) ** 3 if case == "signed" else _values(1, 8, 12, 12)
    x = x.relu() if case == "unsigned" else x
    quantizer = _quantizer("weight" if case == "weights" else "act", x, per_channel=False)
    step = float(quantizer.step.detach())

    def error(step: float) -> float:
        levels = torch.where(x >= 0, step, -step) if case != "unsigned" else step * (x > step / 2)
        return float((levels - x).square().sum())

    assert case == "unsigned" or step == pytest.approx(float(x.abs().mean()))
    assert all(error(step) <= error(step * factor) for factor in (0.8, 0.95, 1.05, 1.2))


def test_weights_that_are_zero_do_not_make_the_others_smaller() -> None:
    weight = _values(2, 8)
    masked = weight * torch.tensor([1.0, 0.0] * 4, dtype=torch.double)
    assert torch.allclose(_quantizer("weight", masked).step, weight[:, ::2].abs().mean(1))


def test_a_channel_of_zeros_stays_zero_with_gradients_that_are_numbers() -> None:
    weight = _values(3, 4)
    weight[1] = 0
    weight.requires_grad_()
    found = _quantizer("weight", weight.detach())(weight)
    found.sum().backward()
    assert not bool(found[1].any()) and weight.grad is not None and bool(weight.grad.isfinite().all())
