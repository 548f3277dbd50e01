"""Steps where the squared error of rounding and clipping is smallest, out of equally spaced clipping points."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.calibrators._observe import SMALLEST_STEP, observe, thinned

#: Smallest clipping point that is tried, as a share of the largest value.
LEAST_CLIP = 0.1


def calibrate(
    model: nn.Module,
    images: Tensor,
    *,
    clips: Annotated[int, Doc("Clipping points tried, up to the largest value."), Range(2, 1000)] = 37,
) -> None:
    """Set every quantiser's steps."""
    observe(model, images, partial(steps, clips=clips))


def steps(rows: Tensor, low: int, high: int, clips: int = 37) -> Tensor:
    """Steps (rows,) of the integers `low` to `high` for values (rows, values); of a long single row some values are looked at."""
    rows = thinned(rows)
    largest = (rows.abs().amax(1) / high).clamp_min(SMALLEST_STEP)
    best, least = largest, torch.full_like(largest, math.inf)
    for clip in torch.linspace(LEAST_CLIP, 1.0, clips).to(rows):
        step = (largest * clip).unsqueeze(1)
        error = ((rows / step).round().clamp(low, high) * step - rows).square().sum(1)
        best = torch.where(error < least, step.squeeze(1), best)
        least = torch.minimum(error, least)
    return best
