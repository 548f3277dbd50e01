"""Rounding up or down, learned (Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020)."""

from __future__ import annotations

from torch import Tensor, nn

from trainers.quantized import Grid

#: The rectified sigmoid reaches beyond 0 and 1 by so much, so that both ends have a gradient near them (equation 23).
LOW, HIGH = -0.1, 1.1
#: The exponent of the penalty on what is neither up nor down falls from one to the other, after the share of the steps in which
#: there is none (equation 24 and section 4).
FIRST_EXPONENT, LAST_EXPONENT, FREE = 20.0, 2.0, 0.2
#: A weight on its grid already begins so far from it that it can still go to the other side.
EDGE = 0.01


class SoftRounding(nn.Module):
    """Stands in for the quantiser of a `weight` while its rounding is learned: each value has a number, `alpha`, that says how far
    up it goes from the integer below it.
    """

    def __init__(self, weight: Tensor, grid: Grid, ends: tuple[int, int]) -> None:
        super().__init__()
        step = grid.step.detach()
        self._step = step if grid.axis is None else step.view(-1, *[1] * (weight.ndim - 1))
        self._ends = ends
        scaled = weight / self._step
        self._floor = scaled.floor()
        share = (scaled - self._floor).clamp(EDGE, 1 - EDGE)
        self.alpha = nn.Parameter(-((HIGH - LOW) / (share - LOW) - 1).log())

    def up(self) -> Tensor:
        """How far each value goes up, from 0 to 1 (equation 23)."""
        return (self.alpha.sigmoid() * (HIGH - LOW) + LOW).clamp(0, 1)

    def forward(self, weight: Tensor) -> Tensor:
        return self._at(self.up())

    def hard(self) -> Tensor:
        """The weights, each at the end that it has come nearer to."""
        return self._at((self.alpha >= 0).to(self._floor.dtype))

    def _at(self, up: Tensor) -> Tensor:
        return (self._floor + up).clamp(*self._ends) * self._step

    def penalty(self, exponent: float) -> Tensor:
        """The sum of 1 - |2 h - 1|^exponent over all values (equation 24): nothing where all are up or down."""
        return (1 - (2 * self.up() - 1).abs().pow(exponent)).sum()


def exponent_at(step: int, steps: int) -> float | None:
    """That of the penalty in a step, None while there is none."""
    begun = FREE * steps
    if step < begun:
        return None
    return FIRST_EXPONENT + (LAST_EXPONENT - FIRST_EXPONENT) * (step - begun) / (steps - begun)
