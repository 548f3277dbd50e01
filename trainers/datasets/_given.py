"""Data in memory, as bytes: arrays, datasets as torch has them, the data sets of loaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pqsearch.errors import UserError
from trainers.datasets import _sequences
from trainers.datasets._types import Images, Labels

#: How far a value may be from a byte, in 1/255: normalising and undoing it rounds.
OFF_BYTES = 0.02
#: Items that are looked at twice: augmentation draws anew.
TRIED = 3


def is_scaled(source: Any, where: str) -> bool:
    """Whether images come as floating-point numbers instead of bytes."""
    if _are_arrays(source):
        return not np.issubdtype(np.asarray(source[0][:1]).dtype, np.integer)
    data = _dataset(source, where)
    image = data[0][0] if len(data) else None
    return not isinstance(image, Image.Image) and np.asarray(image).dtype.kind == "f"


def given_arrays(
    source: Any, mean: Sequence[float] | None, std: Sequence[float] | None, where: str, make: _sequences.Make
) -> tuple[Images, Labels]:
    """Images (N, C, H, W) in uint8, made by `make`, and labels (N,).

    `source` is a pair of images (N, C, H, W) and labels (N,), arrays or tensors; a map-style dataset; or a loader, whose dataset is
    taken. Images that are not bytes must be bytes that were scaled to 0..1 and, where `mean` and `std` are given, normalised by them.
    Raises `UserError` about `where` for anything else, and for data that differ each time they are looked at.
    """
    if _are_arrays(source):
        images, labels = np.asarray(source[0]), np.asarray(source[1])
        if labels.ndim != 1 or len(labels) != len(images):
            raise UserError(
                f"{where} must have one label an image, got images {images.shape} and labels {labels.shape}; give two arrays of one length"
            )
        source = list(zip(images, labels, strict=True))
    data = _dataset(source, where)
    for index in range(min(TRIED, len(data))):
        if not np.array_equal(np.asarray(data[index][0]), np.asarray(data[index][0])):
            raise UserError(
                f"{where} must be the same each time, image {index} is not; leave augmenting to [data] augment"
            )
    return _sequences.decode(_Bytes(data, mean, std, where), None, where, make)


def class_names(source: Any) -> list[str] | None:
    """The names that a dataset has for its classes."""
    while source is not None:
        if isinstance(names := getattr(source, "classes", None), (list, tuple)):
            return [str(name) for name in names]
        source = getattr(source, "dataset", None)
    return None


def _are_arrays(source: Any) -> bool:
    return isinstance(source, (tuple, list)) and len(source) == 2 and all(hasattr(part, "shape") for part in source)


def _dataset(source: Any, where: str) -> Any:
    if hasattr(source, "dataset") and hasattr(source, "batch_size"):  # a loader: its dataset has an order
        source = source.dataset
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise UserError(
            f"{where} must be a pair of arrays, a dataset with a length or a loader of one, got {type(source).__name__}; "
            "see docs/models_of_your_own.md"
        )
    return source


class _Bytes:
    def __init__(self, data: Any, mean: Sequence[float] | None, std: Sequence[float] | None, where: str) -> None:
        self._data, self._where = data, where
        self._mean, self._std = (None if values is None else np.reshape(values, (-1, 1, 1)) for values in (mean, std))

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        item = self._data[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2 or isinstance(item[0], Image.Image):
            return item
        image = np.asarray(item[0])
        return (self._unscaled(image, index) if image.dtype.kind == "f" else image), item[1]

    def _unscaled(self, image: NDArray[Any], index: int) -> NDArray[np.uint8]:
        values = image.astype(np.float64)
        if self._mean is not None and self._std is not None:
            values = values * self._std + self._mean
        values = values * 255
        found = np.rint(values)
        if not (np.abs(values - found).max(initial=0) <= OFF_BYTES and (found >= 0).all() and (found <= 255).all()):
            raise UserError(
                f"{self._where}: image {index} must be bytes, or bytes scaled to 0..1 and normalised by [data] mean and std, got "
                f"values from {image.min():.4g} to {image.max():.4g}; state in [data] what they were normalised by"
            )
        return found.astype(np.uint8)
