"""Dynamic fixed point (Gysel et al., Ristretto, IEEE TNNLS 2018): one power of two a tensor, 2 to 16 bits, for shifts alone.

A value is an integer times 2^-f, f its fraction length, which may be negative. Halves are rounded up, as adding half and shifting
right does. What is never negative uses all of its bits for what is positive.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from pqsearch.rooms import Doc
from trainers.calibrators._observe import Steps, covering, thinned
from trainers.quantizers._grid import SignedByData
from trainers.quantizers._round import passed

#: Fewest and most bits.
BITS = (2, 16)
#: Fraction lengths that are tried beyond the one that clips nothing: each of them halves the range.
MOST_HALVINGS = 8


class Quantizer(SignedByData):
    """Fake quantisation on the grid `step * integer`, integers from `low` to `high`, the step a power of two.

    Weights are signed. Whether activations are is decided by what calibration sees; until calibrated it is the identity. Gradients
    pass where nothing is clipped, and the step is not learned.
    """

    axis: int | None = None

    def __init__(
        self,
        bits: int,
        role: Literal["weight", "act"],
        channels: int,
        axis: int,
        *,
        saturate: Annotated[
            bool, Doc("Clip what is far out where the squared error is then smaller, or nothing at all.")
        ] = True,
    ) -> None:
        super().__init__(bits, role, torch.ones(1), BITS)
        self.saturate = saturate

    @property
    def fraction_length(self) -> int:
        """Bits behind the point: the step is 2 to the power of minus that."""
        return -int(self.step.log2().round())

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            return x
        found: Tensor = _HalfUp.apply(x, self.step, self.low, self.high)
        return found

    @torch.no_grad()
    def calibrate(self, x: Tensor, steps: Steps | None = None) -> None:
        """Set signedness (activations) and fraction length from values `x`: weights (out, ...) or activations (batch, ...).

        `steps` are not asked: there are so few powers of two that all that matter are tried. Raises `FloatingPointError` for
        values that are not finite.
        """
        self.see(x)
        # Half precision has no room for squares, nor for the steps of many bits.
        row = whole = x.reshape(1, -1).to(torch.promote_types(x.dtype, torch.float32))
        exponent = math.ceil(math.log2(float(covering(row, self.low, self.high))))
        if self.saturate:
            row = thinned(row) if self.role == "act" else row
            tried = [2.0 ** (exponent - halvings) for halvings in range(MOST_HALVINGS + 1)]
            errors = [float((half_up(row / step, self.low, self.high) * step - row).square().sum()) for step in tried]
            # The first of those that are as good clips least.
            exponent -= errors.index(min(errors))
        # Any grid has zero; where nothing else is used a very fine one would only make the sums of the layer wide.
        used = bool(half_up(whole / 2.0**exponent, self.low, self.high).any())
        self.step.fill_(2.0**exponent if used else 1.0)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, role={self.role}, signed={self.signed}"


def half_up(scaled: Tensor, low: int, high: int) -> Tensor:
    """Integers nearest to `scaled`, halves rounded up, within the ends."""
    return (scaled + 0.5).floor_().clamp_(low, high)


class _HalfUp(torch.autograd.Function):
    """Rounding to the grid; the gradient passes where low < x / step < high."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        scaled = x / step
        ctx.save_for_backward(x, step)
        ctx.grid = low, high
        return half_up(scaled, low, high).mul_(step).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        x, step = ctx.saved_tensors
        return passed(gradients[0], x / step, *ctx.grid).to(x.dtype), None, None, None
