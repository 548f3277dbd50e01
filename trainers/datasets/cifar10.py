"""CIFAR-10 in its original batches: 50,000 training and 10,000 test images of 32x32 in colour, ten classes."""

from __future__ import annotations

from typing import Annotated

from pqsearch.rooms import Doc, Range
from trainers.datasets._cifar import load_cifar
from trainers.datasets._types import Dataset


def load(
    root: str | None,
    cache: str | None,
    *,
    download: Annotated[bool, Doc("Fetch the data into `root` when it is not there.")] = False,
    mean: Annotated[
        list[float] | None, Doc("Mean of each channel in 0..1; of the training images unless given."), Range(0, 1)
    ] = None,
    std: Annotated[list[float] | None, Doc("Deviation of each channel in 0..1; likewise."), Range(0.001, 1)] = None,
) -> Dataset:
    """Raises `UserError` when the data is not in `root`."""
    return load_cifar("CIFAR10", root, cache, download=download, mean=mean, std=std)
