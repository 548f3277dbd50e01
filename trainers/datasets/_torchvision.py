"""Torchvision's datasets for classification, by name, decoded once into the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.lib.format import open_memmap

from pqsearch.errors import UserError
from pqsearch.rooms import Doc, Range
from trainers.datasets._cache import cached
from trainers.datasets._decoded import from_cache
from trainers.datasets._sequences import decode
from trainers.datasets._types import Dataset, channel_statistics

#: The argument that says which images are meant, and its value for those that train and those that test.
SETS = {
    "MNIST": ("train", True, False),
    "FashionMNIST": ("train", True, False),
    "KMNIST": ("train", True, False),
    "USPS": ("train", True, False),
    "CIFAR10": ("train", True, False),
    "CIFAR100": ("train", True, False),
    "SVHN": ("split", "train", "test"),
    "STL10": ("split", "train", "test"),
    "GTSRB": ("split", "train", "test"),
    "DTD": ("split", "train", "test"),
    "Flowers102": ("split", "train", "test"),
    "Food101": ("split", "train", "test"),
    "PCAM": ("split", "train", "test"),
    "Country211": ("split", "train", "test"),
    "RenderedSST2": ("split", "train", "test"),
    "StanfordCars": ("split", "train", "test"),
    "FGVCAircraft": ("split", "trainval", "test"),
    "OxfordIIITPet": ("split", "trainval", "test"),
    "Imagenette": ("split", "train", "val"),
}


def load(
    name: str,
    root: str | None,
    cache: str | None,
    *,
    size: Annotated[int | None, Doc("Resize the shorter side to this and crop the centre."), Range(1, 4096)] = None,
    download: Annotated[bool, Doc("Let torchvision fetch the data into `root` when it is not there.")] = False,
    mean: Annotated[
        list[float] | None, Doc("Mean of each channel in 0..1; of the training images unless given."), Range(0, 1)
    ] = None,
    std: Annotated[list[float] | None, Doc("Deviation of each channel in 0..1; likewise."), Range(0.001, 1)] = None,
) -> Dataset:
    """Raises `UserError` for an unknown set, and where the data is not in `root`."""
    if name not in SETS:
        raise UserError(f"data.name: torchvision:{name} is unknown, choose from {', '.join(SETS)}")
    key, train, test = SETS[name]
    if root is None:
        raise UserError(
            f"data.root: is required by torchvision:{name} (the folder that torchvision keeps it in), got nothing"
        )
    source = Path(root).expanduser()
    for value in (train, test) if download else ():
        _open(name, source, {key: value}, download=True)

    def build(folder: Path) -> dict[str, Any]:
        for split, value in (("train", train), ("test", test)):
            found = _open(name, source, {key: value}, download=False)

            def make(shape: tuple[int, ...], split: str = split) -> Any:
                return open_memmap(folder / f"{split}_images.npy", mode="w+", dtype=np.uint8, shape=shape)

            images, labels = decode(found, size, f"data.name: torchvision:{name}", make)
            del images  # what a mapped file holds is on the disk when it is closed
            np.save(folder / f"{split}_labels.npy", labels)
        statistics = channel_statistics(np.load(folder / "train_images.npy", "r"))
        return {"classes": _classes(found, int(labels.max()) + 1), "statistics": statistics}

    folder = cached(cache, source, {"dataset": f"torchvision:{name}", "size": size}, build)
    return from_cache(folder, mean, std, f"torchvision's {name} in {source}")


def _open(name: str, source: Path, arguments: Mapping[str, Any], *, download: bool) -> Any:
    from torchvision import datasets

    try:
        return getattr(datasets, name)(str(source), **arguments, download=download)
    except (RuntimeError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        way_out = "" if download else "; data.download = true fetches it"
        raise UserError(f"data.root: {name} in {source} cannot be read ({reason}){way_out}") from None


def _classes(found: Any, count: int) -> list[str]:
    names = getattr(found, "classes", None)
    if names and len(names) >= count and len({str(one) for one in names}) == len(names):
        return [str(one) for one in names]
    return [str(label) for label in range(count)]
