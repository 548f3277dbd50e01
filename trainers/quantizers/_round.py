"""Rounding to a grid of integers times a learned step, and the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainers.calibrators._observe import SMALLEST_STEP


class Round(torch.autograd.Function):
    """Round to the nearest, half to even; straight-through inside the grid, and the step's gradient times `scale` (Esser et al., Learned
    Step Size Quantization, ICLR 2020, equations 5 and 3).

    One new tensor each way: on a CPU, memory is what quantised training costs beyond float. Kept for the way back
    are only the input and the output, which the layers around hold anyway. The arithmetic is the step's (float32) under
    mixed precision too; the output is as short as the input.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int, scale: float) -> Tensor:
        step = step.clamp_min(SMALLEST_STEP)
        output = (x / step).round_().clamp_(low, high).mul_(step).to(x.dtype)
        ctx.save_for_backward(x, step, output)
        ctx.grid = low, high, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (gradient,) = gradients
        x, step, output = ctx.saved_tensors
        low, high, scale = ctx.grid
        scaled = x / step
        gradient = gradient.to(scaled.dtype)
        through = passed(gradient, scaled, low, high)
        by_step = None
        if ctx.needs_input_grad[1]:
            # gradient * (round(x / step) - x / step) inside the range, gradient * (end of the range) outside it.
            if step.numel() == 1:
                by_step = (_dot(output, gradient) - _dot(x, through)).view(step.shape)
            else:
                by_step = (output * gradient).addcmul_(x, through, value=-1).sum_to_size(step.shape)
            by_step = by_step * scale / step
        return through.to(x.dtype), by_step, None, None, None


def passed(gradient: Tensor, scaled: Tensor, low: int, high: int) -> Tensor:
    """The gradient where low < scaled < high, else 0; written over `scaled`."""
    gradient = gradient.to(scaled.dtype)
    found: Tensor = torch.ops.aten.hardtanh_backward.grad_input(gradient, scaled, low, high, grad_input=scaled)
    return found


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products of two tensors of one shape."""
    if a.ndim == 4 and not a.is_contiguous():
        # Images with channels last in memory: flatten in that order, which copies nothing.
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1).to(b.dtype), b.reshape(-1))
