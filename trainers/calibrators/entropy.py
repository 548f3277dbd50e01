"""Steps whose grid says most of what a histogram of sizes says, by the least Kullback-Leibler divergence.

Compared are the histogram, clipped, and what is left of it when it is spread evenly over each step (Migacz, 8-bit inference with
TensorRT, GTC 2017).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.calibrators._observe import SMALLEST_STEP, observe, thinned

#: Clipping points that are tried, equally spaced up to the largest value.
CLIPS = 64
#: What an empty place of the one histogram counts where the other has something.
NOTHING = 1e-9


def calibrate(
    model: nn.Module,
    images: Tensor,
    *,
    bins: Annotated[int, Doc("Bins of the histograms."), Range(256, 65536)] = 2048,
) -> None:
    """Set every quantiser's steps."""
    observe(model, images, partial(steps, bins=bins))


def steps(rows: Tensor, low: int, high: int, bins: int = 2048) -> Tensor:
    """Steps (rows,) of the integers `low` to `high` for values (rows, values); of a long single row some values are looked at."""
    sizes = thinned(rows).abs()
    top = sizes.amax(1, keepdim=True).clamp_min(SMALLEST_STEP)
    place = (sizes / top * bins).long().clamp_max_(bins - 1)
    counts = torch.zeros(len(rows), bins, dtype=torch.double, device=rows.device)
    # Zero is on every grid, whatever its step: what a ReLU has cut off says nothing about it.
    counts.scatter_add_(1, place, (sizes > 0).double())
    best, least = torch.full_like(top[:, 0], float(bins)), torch.full((len(rows),), math.inf, device=rows.device)
    for end in torch.linspace(max(bins // CLIPS, high + 1), bins, CLIPS).long().tolist():
        divergence = _divergence(counts, end, high)
        best = torch.where(divergence < least, float(end), best)
        least = torch.minimum(divergence, least)
    return (top[:, 0] * best / bins / high).clamp_min(SMALLEST_STEP)


def _divergence(counts: Tensor, end: int, high: int) -> Tensor:
    """Of histograms (rows, bins) that are clipped behind `end` from what a grid of 0 to `high` leaves of them (rows,)."""
    inside = counts[:, :end]
    clipped = inside.clone()
    clipped[:, -1] += counts[:, end:].sum(1)
    level = ((torch.arange(end, device=counts.device) + 0.5) / end * high).round().long()
    filled = (inside > 0).double()
    mass, number = (
        torch.zeros(len(counts), high + 1, dtype=counts.dtype, device=counts.device).index_add_(1, level, values)
        for values in (inside, filled)
    )
    spread = (mass / number.clamp_min(1))[:, level] * filled
    wanted = clipped / clipped.sum(1, keepdim=True).clamp_min(1)
    left = (spread / spread.sum(1, keepdim=True).clamp_min(1)).clamp_min(NOTHING)
    return torch.where(wanted > 0, wanted * (wanted / left).log(), 0.0).sum(1)
