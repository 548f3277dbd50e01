"""Images that are arrays already: a folder of `train_images.npy`, `train_labels.npy`, `test_images.npy`, `test_labels.npy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.rooms import Doc, Range
from trainers.datasets._own import checked
from trainers.datasets._types import Dataset, channel_statistics, chosen_statistics

#: One name a line, in the order of the labels; the labels themselves are the names where the file is not there.
CLASSES = "classes.txt"


def load(
    root: str | None,
    cache: str | None,
    *,
    mean: Annotated[
        list[float] | None, Doc("Mean of each channel in 0..1; of the training images unless given."), Range(0, 1)
    ] = None,
    std: Annotated[list[float] | None, Doc("Deviation of each channel in 0..1; likewise."), Range(0.001, 1)] = None,
) -> Dataset:
    """Images (N, C, H, W) in uint8 with labels (N,) from 0 on. They are memory-mapped where they are; `cache` is not used.

    Raises `UserError` naming the file that is missing, unreadable or of another kind.
    """
    if root is None:
        raise UserError("data.root: is required for arrays; name the folder that holds train_images.npy")
    folder = Path(root).expanduser()
    train, test = (_read(folder, f"{part}_images") for part in ("train", "test"))
    train_labels, test_labels = (_labels(folder, f"{part}_labels") for part in ("train", "test"))
    is_images = train.dtype == np.uint8 and train.ndim == 4
    computed = channel_statistics(train) if is_images and None in (mean, std) else ((), ())
    found = chosen_statistics(train.shape[1], mean, std, computed) if is_images else computed
    dataset = Dataset(
        train, train_labels, test, test_labels, _classes(folder, train_labels, test_labels), *found, str(folder)
    )
    return checked(dataset, f" in {folder}", str(folder))


def _read(folder: Path, name: str) -> Any:
    path = folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"data.root: {path} does not exist; save it with numpy.save") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"data.root: {path} is no array ({reason}); save it with numpy.save") from None


def _labels(folder: Path, name: str) -> Any:
    labels = _read(folder, name)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"data.root: {folder / name}.npy must be whole numbers (N,), got {labels.dtype} {labels.shape}; give one label an image"
        )
    return labels.astype(np.int64)


def _classes(folder: Path, *labels: Any) -> tuple[str, ...]:
    path = folder / CLASSES
    if path.is_file():
        return tuple(path.read_text().splitlines())
    return tuple(str(label) for label in range(1 + max(int(part.max(initial=0)) for part in labels)))
