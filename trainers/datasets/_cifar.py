"""CIFAR in its original batches, read by torchvision, decoded once into the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pqsearch.errors import UserError
from trainers.datasets._cache import cached
from trainers.datasets._decoded import from_cache
from trainers.datasets._types import Dataset, channel_statistics

#: What each is called in words.
CALLED = {"CIFAR10": "CIFAR-10", "CIFAR100": "CIFAR-100"}


def load_cifar(
    kind: str,
    root: str | None,
    cache: str | None,
    *,
    download: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Dataset:
    """`kind` is torchvision's name of it. Raises `UserError` when the data is not in `root`."""
    base, name = _class(kind).base_folder, kind.lower()
    if root is None:
        raise UserError(f"data.root: is required by {name} (the folder that holds {base}), got nothing")
    source = Path(root).expanduser()
    way_out = "" if download else "; data.download = true fetches it"
    if not download and not (source / base).is_dir():
        raise UserError(f"data.root: {root} has no {base} folder{way_out}")
    if download:
        _open(kind, source, train=True, download=True, way_out=way_out)

    def build(folder: Path) -> dict[str, Any]:
        for split in ("train", "test"):
            found = _open(kind, source, train=split == "train", download=False, way_out=way_out)
            np.save(folder / f"{split}_images.npy", np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
            np.save(folder / f"{split}_labels.npy", np.asarray(found.targets, dtype=np.int64))
        statistics = channel_statistics(np.load(folder / "train_images.npy", "r"))
        return {"classes": list(found.classes), "statistics": statistics}

    folder = cached(cache, source / base, {"dataset": name}, build)
    return from_cache(folder, mean, std, str(source / base))


def _class(kind: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, kind)


def _open(kind: str, source: Path, *, train: bool, download: bool, way_out: str) -> Any:
    """Torchvision's dataset, which checks the digests of its files."""
    try:
        return _class(kind)(str(source), train=train, download=download)
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0].removesuffix(". You can use download=True to download it")
        raise UserError(f"data.root: {CALLED[kind]} in {source} cannot be read ({reason}){way_out}") from None
