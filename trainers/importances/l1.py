"""Sum of absolute weights (Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017), over the whole group."""

from __future__ import annotations

import torch
from torch import Tensor


def importance(weights: list[Tensor], gradients: list[Tensor] | None) -> Tensor:
    """Scores (channels,) from weights, a list of (channels, values) for every layer of the group; low goes first.

    Each layer is divided by its mean, so that a layer of large filters does not decide alone.
    """
    norms = [weight.abs().sum(1) for weight in weights]
    return torch.stack([norm / norm.mean().clamp_min(1e-12) for norm in norms]).mean(0)
