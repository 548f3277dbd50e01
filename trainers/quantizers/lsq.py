"""Learned step size quantisation (Esser et al., Learned Step Size Quantization, ICLR 2020), 1 to 8 bits.

Equations 1 and 2 quantise, equation 3 is the gradient of the step, section 2.2 its scale. Steps start where the
squared error on data is smallest, not at the paper's 2 mean|x| / sqrt(Qp): at 2 to 4 bits the error is far smaller.

At 1 bit weights are their sign times the mean size of their output channel (Rastegari et al., XNOR-Net, ECCV 2016), which
follows the weights and is no parameter. Inputs are 0 or the learned step, or that step up or down where some are negative.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from pqsearch.rooms import Doc
from trainers.calibrators import mse
from trainers.calibrators._observe import SMALLEST_STEP, Steps, thinned
from trainers.quantizers import _one_bit
from trainers.quantizers._grid import SignedByData
from trainers.quantizers._round import Round

#: Fewest and most bits.
BITS = (1, 8)


class Quantizer(SignedByData):
    """Fake quantisation on the grid `step * integer`, integers from `low` to `high`; a signed bit leaves 0 out.

    Weights are signed, with a step for each of the `channels` along `axis` (0, the output channels) or one for all.
    Activations have one step; whether they are signed is decided by what calibration sees. Until calibrated it is the
    identity.
    """

    def __init__(
        self,
        bits: int,
        role: Literal["weight", "act"],
        channels: int,
        axis: int,
        *,
        per_channel: Annotated[bool, Doc("One step per output channel for weights, or one for the layer.")] = True,
    ) -> None:
        own = role == "weight" and per_channel
        step = torch.ones(channels if own else 1)
        follows = bits == 1 and role == "weight"
        super().__init__(bits, role, step if follows else nn.Parameter(step), BITS)
        self.axis = axis if own else None

    @property
    def _follows(self) -> bool:
        """The step is what the weights say, and not learned."""
        return self.bits == 1 and self.role == "weight"

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            return x
        if self._follows:
            return self._signs(x)
        step = self._along(self.step, x)
        values = x[0].numel() if self.role == "act" or self.axis is not None else x.numel()
        scale = 1 / math.sqrt(self.high * values)
        if self.bits == 1 and self.signed:
            return _one_bit.Bit.apply(x, step.clamp_min(SMALLEST_STEP), scale)
        return Round.apply(x, step, self.low, self.high, scale)

    def _along(self, step: Tensor, x: Tensor) -> Tensor:
        """Steps shaped so that they broadcast to `x`."""
        return step if self.axis is None else step.view(-1, *[1] * (x.ndim - 1))

    def _signs(self, weight: Tensor) -> Tensor:
        size = _one_bit.mean_size(weight, self.axis)
        with torch.no_grad():
            self.step.copy_(size.clamp_min(SMALLEST_STEP))  # for those who read the grid
        return _one_bit.signs(weight, self._along(size, weight))

    @torch.no_grad()
    def calibrate(self, x: Tensor, steps: Steps = mse.steps) -> None:
        """Set signedness (activations) and step from values `x`: weights (out, ...) or activations (batch, ...).

        `steps` finds them from rows of values; one-bit grids that have no zero have a step of their own. Raises
        `FloatingPointError` for values that are not finite.
        """
        self.see(x)
        rows = x.flatten(1) if self.axis is not None else x.reshape(1, -1)
        self.step.copy_(self._step_of(rows, steps))

    def _step_of(self, rows: Tensor, steps: Steps) -> Tensor:
        if self.bits == 1 and self.signed:
            return _one_bit.mean_size(thinned(rows), 0).clamp_min(SMALLEST_STEP)
        found = steps(rows, self.low, self.high).clamp_min(SMALLEST_STEP)
        return _one_bit.refined(thinned(rows), found, SMALLEST_STEP) if self.bits == 1 else found

    def extra_repr(self) -> str:
        return f"bits={self.bits}, role={self.role}, axis={self.axis}, signed={self.signed}"
