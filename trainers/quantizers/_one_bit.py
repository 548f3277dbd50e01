"""One bit: weights by their sign and mean size (Rastegari et al., XNOR-Net, ECCV 2016), inputs by their sign and a learned step.

The sign passes gradients on where a value is at most one step from zero (Hubara et al., Binarized Neural Networks, NIPS 2016).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Rounds of looking for the step of values that are never negative; each halves what is left to gain, or more.
ROUNDS = 10


def mean_size(x: Tensor, axis: int | None) -> Tensor:
    """Mean absolute value of what is not zero, one for each index along `axis` 0, or one (1,).

    The least squares scale of signs. Weights that are masked are zeros and have no say.
    """
    rows = x.flatten(1) if axis is not None else x.reshape(1, -1)
    return rows.abs().sum(1) / rows.detach().count_nonzero(1).clamp_min(1)


def signs(x: Tensor, size: Tensor) -> Tensor:
    """`size` (which broadcasts to x) with the signs of `x`; zero counts as positive.

    The gradient reaches the sizes as it does through a product, and x where |x| <= size.
    """
    found: Tensor = _Sign.apply(x, size.detach())
    return (found * size).to(x.dtype)


def refined(rows: Tensor, step: Tensor, smallest: float) -> Tensor:
    """Steps (rows,) nearer to the least squares ones of {0, step} than `step`: in turn what rounds up, and the mean of that."""
    for _ in range(ROUNDS):
        up = rows > step.unsqueeze(1) / 2
        number = up.sum(1)
        step = torch.where(number > 0, (rows * up).sum(1) / number.clamp_min(1), step).clamp_min(smallest)
    return step


class Bit(torch.autograd.Function):
    """+step or -step: the gradient passes where |x| <= step, and the step's is that of learned steps, scaled by `scale`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.scale = scale
        return torch.where(x >= 0, step, -step).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, step = ctx.saved_tensors
        gradient = gradients[0].to(step.dtype)
        scaled = x / step
        inside = scaled.abs() <= 1
        through = gradient * inside
        sign = torch.where(x >= 0, 1.0, -1.0).to(step.dtype)
        by_step = (gradient * sign - through * scaled).sum_to_size(step.shape) * ctx.scale
        return through.to(x.dtype), by_step, None


class _Sign(torch.autograd.Function):
    """+1 or -1, which changes by 1 / size for each unit of x while |x| <= size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: Tensor) -> Tensor:
        ctx.save_for_backward(x, size)
        return torch.where(x >= 0, 1.0, -1.0).to(size.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, size = ctx.saved_tensors
        inside = x.abs() <= size
        # Zeros have no size: nothing passes where the product with it is nothing.
        return (gradients[0] * inside / size.clamp_min(torch.finfo(size.dtype).tiny)).to(x.dtype), None
