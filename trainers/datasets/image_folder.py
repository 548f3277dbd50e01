"""Images of your own: a folder or a .tar.gz of `train/<class>/*` and `test/<class>/*`, decoded once into a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.rooms import Doc, Range
from trainers.datasets._cache import cached
from trainers.datasets._decoded import from_cache
from trainers.datasets._images import decode
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
    what = "a folder or an archive of train/<class>/* and test/<class>/*"
    if root is None:
        raise UserError(f"data.root: is required by image_folder ({what}), got nothing")
    source = Path(root).expanduser()
    if not source.exists():
        raise UserError(f"data.root: {root} does not exist; give {what}")

    def build(folder: Path) -> dict[str, Any]:
        classes = decode(source, ("train", "test"), folder, mode="RGB", size=size, where="data.root")
        if len(classes["train"]) < 2:
            raise UserError(f"data.root: {root} has one class, {classes['train'][0]}; a classifier needs two or more")
        # Labels of the test images count in its own classes; make them count in all.
        index = np.searchsorted(classes["train"], classes["test"])
        labels = folder / "test_labels.npy"
        np.save(labels, index[np.load(labels)].astype(np.int64))
        return {
            "classes": classes["train"],
            "statistics": channel_statistics(np.load(folder / "train_images.npy", "r")),
        }

    folder = cached(cache, source, {"dataset": "image_folder", "size": size}, build)
    return from_cache(folder, mean, std, str(source))
