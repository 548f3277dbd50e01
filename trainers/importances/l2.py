"""Euclidean norm of the weights (He et al., Soft Filter Pruning, IJCAI 2018), over the whole group."""

from __future__ import annotations

import torch
from torch import Tensor


def importance(weights: list[Tensor], gradients: list[Tensor] | None) -> Tensor:
    """Scores (channels,) from weights, a list of (channels, values) for every layer of the group; low goes first."""
    norms = [weight.norm(dim=1) for weight in weights]
    return torch.stack([norm / norm.mean().clamp_min(1e-12) for norm in norms]).mean(0)
