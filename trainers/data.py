"""Who uses which images, and batches of them: augmented for training, plain for everything that measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqsearch.errors import UserError
from pqsearch.spec_network import DataSpec
from trainers.augment import Part, augment_images, augment_pixels
from trainers.datasets._cache import cached, read_array, read_meta
from trainers.datasets._images import decode
from trainers.datasets._stratify import stratified
from trainers.datasets._types import Dataset
from trainers.device import evaluation_batch
from trainers.seeds import derive, torch_generator

#: Positions in a batch of so many images: those that one of several processes takes.
Share = Callable[[int], NDArray[np.int64]]
#: Slices are the same for every study on the same data, so that results can be compared.
SLICE_SEED = 0


@dataclass(frozen=True)
class Slice:
    """Images (all, channels, height, width) uint8, labels, and which of them are meant."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Splits:
    """`train` trains; `score` ranks plans and `select` picks checkpoints, and nothing trains on those two."""

    train: Slice
    score: Slice
    select: Slice


def split(dataset: Dataset, spec: DataSpec) -> Splits:
    """Stratified slices of the training images, or of a validation folder of the user's. Raises `UserError`."""
    images, labels = dataset.train_images, dataset.train_labels
    if spec.validation is not None:
        return _with_validation(dataset, spec)
    classes = len(dataset.classes)
    needed = spec.score_images + spec.select_images + classes
    if needed > len(labels):
        raise UserError(
            f"data.score_images: {spec.score_images} images to score, {spec.select_images} to select and one a class "
            f"to train are {needed}, the data have {len(labels)}; lower data.score_images or data.select_images"
        )
    score, select, train = _slices(labels, (spec.score_images, spec.select_images))
    absent = [dataset.classes[label] for label in range(classes) if not (labels[train] == label).any()]
    if absent:
        raise UserError(
            f"data.score_images: the slices leave no training image of {', '.join(absent)}; lower data.score_images"
        )
    return Splits(*(Slice(images, labels, indices) for indices in (train, score, select)))


def _with_validation(dataset: Dataset, spec: DataSpec) -> Splits:
    assert spec.validation is not None
    source = Path(spec.validation)
    if not source.exists():
        raise UserError(f"data.validation: {source} does not exist; give a folder or an archive of <class>/<image>")
    channels, height, width = dataset.input_shape
    mode, size = "RGB" if channels == 3 else "L", height if height == width else None

    def build(folder: Path) -> dict[str, Any]:
        return {"classes": decode(source, ("",), folder, mode=mode, size=size, where="data.validation")[""]}

    folder = cached(spec.cache, source, {"dataset": "validation", "mode": mode, "size": size}, build)
    classes = tuple(read_meta(folder)["classes"])
    images, labels = read_array(folder, "_images"), np.asarray(read_array(folder, "_labels"))
    if classes != dataset.classes:
        raise UserError(
            f"data.validation: must have the classes of the training data ({_some(dataset.classes)}), "
            f"got {_some(classes)}; name its folders like theirs"
        )
    if images.shape[1:] != dataset.input_shape:
        raise UserError(
            f"data.validation: images must be {dataset.input_shape} like the training images, got {images.shape[1:]}; "
            "resize them"
        )
    if len(labels) < 2:
        raise UserError(f"data.validation: must hold at least 2 images, got {len(labels)}; one scores, one selects")
    score, select = _slices(labels, (len(labels) // 2,))
    everything = np.arange(len(dataset.train_labels))
    return Splits(
        Slice(dataset.train_images, dataset.train_labels, everything),
        Slice(images, labels, score),
        Slice(images, labels, select),
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _slices(labels: NDArray[np.int64], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Disjoint stratified slices of `sizes`, then what is left; sorted indices."""
    rng = np.random.default_rng(SLICE_SEED)
    left, found = np.arange(len(labels)), []
    for size in sizes:
        found.append(left[stratified(labels[left], size, rng)])
        left = np.setdiff1d(left, found[-1])
    return [*found, left]


class Loader:
    """Batches of one slice on a device, normalised. No worker processes: the images are arrays already."""

    def __init__(self, dataset: Dataset, part: Slice, device: torch.device) -> None:
        self._part = part
        self._device = device
        self._mean = torch.tensor(dataset.mean).view(1, -1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(dataset.std).view(1, -1, 1, 1) * 255)
        self._labels = torch.from_numpy(np.array(part.labels))
        self.classes = len(dataset.classes)

    def __len__(self) -> int:
        return len(self._part)

    def take(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images (batch, channels, height, width) in float32, channels last, and labels at positions of the slice."""
        rows = self._part.indices[positions]
        return self._normalised(self._pixels(rows)), self._labels[rows].to(self._device)

    def _pixels(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._part.images[rows]))

    def _normalised(self, pixels: Tensor) -> Tensor:
        images = pixels.to(self._device, torch.float32)
        images = (images - self._mean.to(self._device)) * self._scale.to(self._device)
        return images.contiguous(memory_format=torch.channels_last)

    def plain(self, first: int = 0, every: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, without augmentation, in batches that fit in memory; from batch `first` on `every` so manieth."""
        batch_size = evaluation_batch(self._part.images.shape[1:], self._device)
        for start in range(first * batch_size, len(self), every * batch_size):
            yield self.take(np.arange(start, min(start + batch_size, len(self))))

    def sample(self, count: int, *seed: str | int, augment: tuple[str, ...] = ()) -> tuple[Tensor, Tensor]:
        """`count` images (or all) drawn without replacement by a seed, as they are or augmented: the same images either way."""
        random = torch_generator(derive(*seed))
        order = torch.randperm(len(self), generator=random).numpy()[:count]
        return self._augmented(order, augment, derive(*seed, "pixels"), random, Part.whole(len(order)))

    def parts(self, count: int, *seed: str | int, augment: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Images of `sample` for the statistics of batch norm, in parts that fit in memory and weigh the same in an average.

        Augmented as in training they should be: the weights have learned with the statistics of such images, and at those of images as
        they are a network loses accuracy even in float.
        """
        images, _ = self.sample(count, *seed, augment=augment)
        return images.tensor_split(-(-len(images) // evaluation_batch(self._part.images.shape[1:], self._device)))

    def epoch(
        self, batch_size: int, augment: tuple[str, ...], *seed: str | int, share: Share = np.arange
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One shuffled pass in whole batches (or one of all images, if too few); all that is random is the seed's.

        Of each batch only the `share` is made, as it is in the whole one.
        """
        random = torch_generator(derive(*seed))
        order = torch.randperm(len(self), generator=random).numpy()
        batches = max(1, len(order) // batch_size)
        for number in range(batches):
            batch = order[number * batch_size : (number + 1) * batch_size]
            part = Part(len(batch), share(len(batch)))
            yield self._augmented(batch, augment, derive(*seed, "pixels", number), random, part)

    def _augmented(
        self, positions: NDArray[np.int64], augment: tuple[str, ...], seed: int, random: torch.Generator, part: Part
    ) -> tuple[Tensor, Tensor]:
        """The `part` of a batch; its pixels change by `seed`, its images by `random`."""
        rows = self._part.indices[positions[part.positions]]
        pixels = augment_pixels(self._pixels(rows), augment, seed, part)
        return augment_images(self._normalised(pixels), augment, random, part), self._labels[rows].to(self._device)

    def batches_an_epoch(self, batch_size: int) -> int:
        return max(1, len(self) // batch_size)
