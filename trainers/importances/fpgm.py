"""Distance from the other filters (He et al., Filter Pruning via Geometric Median, CVPR 2019), over the whole group."""

from __future__ import annotations

import torch
from torch import Tensor


def importance(weights: list[Tensor], gradients: list[Tensor] | None) -> Tensor:
    """Scores (channels,): the sum of distances to all other channels (equation 4); near the median goes first."""
    distances = [torch.cdist(weight, weight).sum(1) for weight in weights]
    return torch.stack([distance / distance.mean().clamp_min(1e-12) for distance in distances]).mean(0)
