"""The handwritten digits that scikit-learn carries: 1,797 grey images of 8x8, offline (from the UCI repository)."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from pqsearch.rooms import Doc, Range
from trainers.datasets._stratify import stratified
from trainers.datasets._types import Dataset, channel_statistics
from trainers.seeds import derive, numpy_generator

BRIGHTEST = 16  # the values of the original files


def load(
    root: str | None,
    cache: str | None,
    *,
    test_images: Annotated[int, Doc("Images held out for testing, stratified."), Range(50, 1500)] = 600,
) -> Dataset:
    """The same split for everyone. Neither `root` nor `cache` is used: the images are part of scikit-learn."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.rint(found.images * (255 / BRIGHTEST)).astype(np.uint8)[:, None]
    labels = found.target.astype(np.int64)
    test = stratified(labels, test_images, numpy_generator(derive("digits", "test")))
    train = np.setdiff1d(np.arange(len(labels)), test)
    mean, std = channel_statistics(images[train])
    return Dataset(
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=tuple(str(name) for name in found.target_names),
        mean=mean,
        std=std,
        origin="scikit-learn's handwritten digits",
    )
