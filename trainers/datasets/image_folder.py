"""Images of your own: a folder or a .tar.gz of `train/<class>/*` and `test/<class>/*`, decoded once into a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from pqsearch.rooms import Doc, Range
from trainers.datasets._cache import cached
from trainers.datasets._decoded import from_cache
from trainers.datasets._folders import decode_splits, source_of
from trainers.datasets._types import Dataset, channel_statistics


def load(
    root: str | None,
    cache: str | None,
    *,
    size: Annotated[int | None, Doc("Resize the shorter side to this and crop the centre."), Range(1, 4096)] = None,
    mean: Annotated[
        list[float] | None, Doc("Mean of each channel in 0..1; of the training images unless given."), Range(0, 1)
    ] = None,
    std: Annotated[list[float] | None, Doc("Deviation of each channel in 0..1; likewise."), Range(0.001, 1)] = None,
) -> Dataset:
    """Colour images; a class is its folder's name. Raises `UserError` naming what is missing, empty or unreadable."""
    source = source_of(root, "image_folder", "test")

    def build(folder: Path) -> dict[str, Any]:
        classes = decode_splits(source, "test", folder, size)
        statistics = channel_statistics(np.load(folder / "train_images.npy", "r"))
        return {"classes": classes, "statistics": statistics}

    folder = cached(cache, source, {"dataset": "image_folder", "size": size}, build)
    return from_cache(folder, mean, std, str(source))
