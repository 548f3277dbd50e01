"""Picking images so that every class keeps its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.datasets._types import Labels

Indices = NDArray[np.int64]


def stratified(labels: Labels, count: int, generator: np.random.Generator) -> Indices:
    """`count` sorted indices into `labels`, classes in proportion; ties of remainders go to the lower class."""
    classes, sizes = np.unique(labels, return_counts=True)
    share = sizes * (count / len(labels))
    taken = np.floor(share).astype(np.int64)
    order = np.argsort(-(share - taken), kind="stable")
    taken[order[: count - int(taken.sum())]] += 1
    picked = [
        generator.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in zip(classes, taken, strict=True)
    ]
    return np.sort(np.concatenate(picked)).astype(np.int64)
