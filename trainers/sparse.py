"""Masks: which weights of a layer are zero, and stay zero through training."""

from __future__ import annotations

import torch
from torch import Tensor

from pqsearch.sparsity import ROUNDING, Pattern


def mask_of(weight: Tensor, share: float, pattern: Pattern) -> Tensor:
    """True for the weights (of the shape of `weight`, output channels first) that stay; the smallest in size go.

    Of equal ones the first goes, on every device. With a pattern N:M every share above 0 is the pattern's.
    """
    # Input channels innermost, as the kernels that skip zeros store filters.
    ordered = weight.movedim(1, -1) if weight.ndim > 2 else weight
    rows = ordered.detach().abs().flatten(1)
    if pattern.block:
        whole = rows.shape[1] // pattern.block * pattern.block
        blocks = rows[:, :whole].reshape(-1, pattern.block)
        gone = pattern.block - pattern.kept if share else 0
        keep = torch.ones_like(rows, dtype=torch.bool)
        keep[:, :whole] = _without_least(blocks, gone).reshape(len(rows), whole)
    else:
        rows = rows if pattern.per_filter else rows.reshape(1, -1)
        keep = _without_least(rows, int(rows.shape[1] * share + ROUNDING))
    keep = keep.reshape(ordered.shape)
    return (keep.movedim(-1, 1) if weight.ndim > 2 else keep).contiguous()


def _without_least(rows: Tensor, gone: int) -> Tensor:
    """All True but the `gone` least of each row."""
    keep = torch.ones_like(rows, dtype=torch.bool)
    return keep.scatter_(1, rows.argsort(dim=1, stable=True)[:, :gone], False)
