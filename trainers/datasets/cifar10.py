"""CIFAR-10 in its original batches, read by torchvision: 50,000 training and 10,000 test images of 32x32 in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.rooms import Doc, Range
from trainers.datasets._cache import cached
from trainers.datasets._decoded import from_cache
from trainers.datasets._types import Dataset, channel_statistics


def load(
    root: str | None,
    cache: str | None,
    *,
    download: Annotated[bool, Doc("Fetch the data into `root` when it is not there.")] = False,
    mean: Annotated[
        list[float] | None, Doc("Mean of each channel in 0..1; of the training images unless given."), Range(0, 1)
    ] = None,
    std: Annotated[list[float] | None, Doc("Deviation of each channel in 0..1; likewise."), Range(0.001, 1)] = None,
) -> Dataset:
    """Raises `UserError` when the data is not in `root`."""
    from torchvision.datasets import CIFAR10

    if root is None:
        raise UserError(f"data.root: is required by cifar10 (the folder that holds {CIFAR10.base_folder}), got nothing")
    source = Path(root).expanduser()
    way_out = "" if download else "; data.download = true fetches it"
    if not download and not (source / CIFAR10.base_folder).is_dir():
        raise UserError(f"data.root: {root} has no {CIFAR10.base_folder} folder{way_out}")
    if download:
        _open(source, train=True, download=True, way_out=way_out)

    def build(folder: Path) -> dict[str, Any]:
        for split in ("train", "test"):
            found = _open(source, train=split == "train", download=False, way_out=way_out)
            np.save(folder / f"{split}_images.npy", np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
            np.save(folder / f"{split}_labels.npy", np.asarray(found.targets, dtype=np.int64))
        statistics = channel_statistics(np.load(folder / "train_images.npy", "r"))
        return {"classes": list(found.classes), "statistics": statistics}

    folder = cached(cache, source / CIFAR10.base_folder, {"dataset": "cifar10"}, build)
    return from_cache(folder, mean, std, str(source / CIFAR10.base_folder))


def _open(source: Path, *, train: bool, download: bool, way_out: str) -> Any:
    """Torchvision's dataset, which checks the digests of its files."""
    from torchvision.datasets import CIFAR10

    try:
        return CIFAR10(str(source), train=train, download=download)
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0].removesuffix(". You can use download=True to download it")
        raise UserError(f"data.root: CIFAR-10 in {source} cannot be read ({reason}){way_out}") from None
