"""Steps that cover all but the largest few of the values seen."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.calibrators._observe import SMALLEST_STEP, observe


def calibrate(
    model: nn.Module,
    images: Tensor,
    *,
    covered: Annotated[float, Doc("Percentage of the values, by size, that are not clipped."), Range(50, 100)] = 99.9,
) -> None:
    """Set every quantiser's steps."""
    observe(model, images, partial(steps, covered=covered))


def steps(rows: Tensor, low: int, high: int, covered: float = 99.9) -> Tensor:
    """Steps (rows,) of the integers `low` to `high` for values (rows, values)."""
    place = max(1, round(covered / 100 * rows.shape[1]))
    return (rows.abs().kthvalue(place, dim=1).values / high).clamp_min(SMALLEST_STEP)
