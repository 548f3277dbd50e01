"""A dataset whose decoded images are in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainers.datasets._cache import read_array, read_meta
from trainers.datasets._types import Dataset, chosen_statistics


def from_cache(folder: Path, mean: Sequence[float] | None, std: Sequence[float] | None, origin: str) -> Dataset:
    """The arrays of `folder` (train_images, train_labels, ...) as a dataset; `mean` and `std` are the user's, if given."""
    meta = read_meta(folder)
    images = read_array(folder, "train_images")
    means, stds = chosen_statistics(images.shape[1], mean, std, meta["statistics"])
    return Dataset(
        train_images=images,
        train_labels=np.asarray(read_array(folder, "train_labels")),
        test_images=read_array(folder, "test_images"),
        test_labels=np.asarray(read_array(folder, "test_labels")),
        classes=tuple(meta["classes"]),
        mean=means,
        std=stds,
        origin=origin,
    )
