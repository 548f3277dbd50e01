"""What every dataset gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pqsearch.errors import UserError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

#: Images whose values are counted at once.
CHUNK = 4096


@dataclass(frozen=True)
class Dataset:
    """Images (N, C, H, W) in uint8, possibly memory-mapped, and their labels (N,), indices into `classes`.

    `mean` and `std` (C,) normalise images that were scaled to 0..1; they are the same in every stage. `origin` says in
    words where the images are from.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height, width."""
        return tuple(int(size) for size in self.train_images.shape[1:])


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Exact mean and deviation per channel of images (N, C, H, W), in 0..1 units."""
    channels = images.shape[1]
    number, sums, squares = images.size // channels, [0] * channels, [0] * channels
    for start in range(0, len(images), CHUNK):
        chunk = np.asarray(images[start : start + CHUNK])
        for channel in range(channels):
            values = chunk[:, channel]
            sums[channel] += int(values.sum(dtype=np.int64))
            squares[channel] += int(np.square(values, dtype=np.uint16).sum(dtype=np.int64))
    mean = np.array([total / (number * 255) for total in sums])
    # Python's whole numbers: nothing cancels.
    variance = np.array(
        [(number * square - total**2) / (number * 255) ** 2 for total, square in zip(sums, squares, strict=True)]
    )
    # A constant channel carries nothing; dividing by 1 leaves it at zero.
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def chosen_statistics(
    channels: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    computed: tuple[Sequence[float], Sequence[float]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The user's mean and std where given, else the computed ones. Raises `UserError` for a wrong length."""
    problems = [
        f"data.{key}: must have a value for each of {channels} channels, got {list(values)}"
        for key, values in (("mean", mean), ("std", std))
        if values is not None and len(values) != channels
    ]
    if problems:
        raise UserError(problems)
    return tuple(mean if mean is not None else computed[0]), tuple(std if std is not None else computed[1])
