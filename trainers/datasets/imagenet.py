"""ImageNet in torchvision's layout, `train/<class>/*` and `val/<class>/*`, resized and cropped once into a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pqsearch.errors import UserError
from pqsearch.rooms import Doc, Range
from trainers.datasets._cache import cached
from trainers.datasets._decoded import from_cache
from trainers.datasets._folders import decode_splits, source_of
from trainers.datasets._types import Dataset

#: Mean and deviation of red, green and blue by which published weights were trained.
STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load(
    root: str | None,
    cache: str | None,
    *,
    size: Annotated[int, Doc("Side of the square that is cropped from the centre."), Range(1, 4096)] = 224,
    resize: Annotated[int, Doc("Length of the shorter side before that."), Range(1, 4096)] = 256,
    mean: Annotated[
        list[float] | None, Doc("Mean of each channel in 0..1; that of published weights unless given."), Range(0, 1)
    ] = None,
    std: Annotated[list[float] | None, Doc("Deviation of each channel in 0..1; likewise."), Range(0.001, 1)] = None,
) -> Dataset:
    """Colour images; `val/` is what is tested on. Raises `UserError` naming what is missing, empty or unreadable."""
    source = source_of(root, "imagenet", "val")
    if resize < size:
        raise UserError(f"data.resize: must be at least data.size, which is {size}, got {resize}")

    def build(folder: Path) -> dict[str, Any]:
        return {"classes": decode_splits(source, "val", folder, size, resize), "statistics": STATISTICS}

    folder = cached(cache, source, {"dataset": "imagenet", "size": size, "resize": resize}, build)
    return from_cache(folder, mean, std, str(source))
