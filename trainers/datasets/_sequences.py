"""Datasets as torch has them, sequences of an image and a label, decoded into arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pqsearch.errors import UserError
from trainers.datasets._images import resized
from trainers.datasets._types import Images, Labels


class Sequence(Protocol):
    """What torch calls a map-style dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


#: Makes an array for so many images of a shape, in memory or in a file.
Make = Callable[[tuple[int, ...]], Images]


def decode(
    sequence: Sequence, size: int | None, where: str, make: Make = lambda shape: np.empty(shape, np.uint8)
) -> tuple[Images, Labels]:
    """Images (N, C, H, W) in uint8 and labels (N,). An image is Pillow's, or an array or tensor of bytes: (H, W), (H, W, C) or (C, H, W).

    `size` resizes the shorter side and crops the centre. Raises `UserError` about `where` for what is no image, a label that is no
    whole number, and images of different sizes.
    """
    count = len(sequence)
    if not count:
        raise UserError(f"{where}: has no images")
    images: Images | None = None
    labels = np.empty(count, np.int64)
    for index in range(count):
        image, label = _pair(sequence, index, where)
        pixels = _pixels(image, size, f"{where}: image {index}")
        if images is None:
            images = make((count, *pixels.shape))
        if pixels.shape != images.shape[1:]:
            raise UserError(
                f"{where}: images must have one size, image {index} is {pixels.shape} and the first {images.shape[1:]}; "
                "data.size = N resizes and crops them"
            )
        images[index] = pixels
        labels[index] = label
    assert images is not None
    return images, labels


def _pair(sequence: Sequence, index: int, where: str) -> tuple[Any, int]:
    item = sequence[index]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise UserError(f"{where}: must give pairs of an image and a label, item {index} is {type(item).__name__}")
    image, label = item
    try:
        number = int(label)
    except (TypeError, ValueError):
        raise UserError(f"{where}: labels must be whole numbers, that of image {index} is {label!r}") from None
    return image, number


def _pixels(image: Any, size: int | None, where: str) -> NDArray[np.uint8]:
    if not isinstance(image, Image.Image):
        image = _picture(image, where)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "I", "I;16", "F", "LA") else "RGB")
    if size is not None:
        image = resized(image, size)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _picture(image: Any, where: str) -> Image.Image:
    """Arrays in any of the usual orders of axes."""
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise UserError(
            f"{where}: must be bytes from 0 to 255, got {pixels.dtype}; leave normalising and augmenting to pqsearch"
        )
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise UserError(f"{where}: must have one or three channels, got the shape {np.asarray(image).shape}")
    return Image.fromarray(np.ascontiguousarray(pixels))
