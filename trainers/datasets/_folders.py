"""Class folders below `train/` and below what is held out, decoded into the arrays of the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pqsearch.errors import UserError
from trainers.datasets._images import decode


def source_of(root: str | None, name: str, held_out: str) -> Path:
    """The folder or archive at `root`. Raises `UserError` where there is none."""
    what = f"a folder or an archive of train/<class>/* and {held_out}/<class>/*"
    if root is None:
        raise UserError(f"data.root: is required by {name} ({what}), got nothing")
    source = Path(root).expanduser()
    if not source.exists():
        raise UserError(f"data.root: {root} does not exist; give {what}")
    return source


def decode_splits(source: Path, held_out: str, folder: Path, size: int | None, shorter: int | None = None) -> list[str]:
    """Write training and test images and labels into `folder`; the classes are those of the training images.

    Colour images; `shorter` and `size` as `decode` has them. Raises `UserError` about data.root.
    """
    found = decode(source, ("train", held_out), folder, mode="RGB", size=size, shorter=shorter, where="data.root")
    classes = found["train"]
    if len(classes) < 2:
        raise UserError(f"data.root: {source} has one class, {classes[0]}; a classifier needs two or more")
    # Labels of the images held out count in their own classes; make them count in all.
    labels = np.load(folder / f"{held_out}_labels.npy")
    (folder / f"{held_out}_labels.npy").unlink()
    (folder / f"{held_out}_images.npy").rename(folder / "test_images.npy")
    np.save(folder / "test_labels.npy", np.searchsorted(classes, found[held_out])[labels].astype(np.int64))
    return classes
