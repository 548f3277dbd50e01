"""Who sees which images, and how they become batches: index, crop and flip in uint8, normalise on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pqsearch.errors import UserError
from pqsearch.spec import DataSpec
from trainers.datasets._cache import cached, read_array, read_meta
from trainers.datasets._images import decode
from trainers.datasets._stratify import Indices, stratified
from trainers.datasets._types import Dataset, Images, Labels
from trainers.seeds import derive, numpy_generator, torch_generator

#: Not the study's seed: studies on the same data share their slices, so that their scores compare.
SPLIT_SEED = derive("pqsearch", "slices", 1)
PAD_SHARE = 8  # a crop moves an image by up to an eighth of its size: 4 of 32 pixels, 1 of 8
#: Strides that CPU and GPU convolutions are fastest with.
LAYOUT = torch.channels_last


@dataclass(frozen=True)
class Slice:
    """The images `images[indices]` (N, C, H, W) in uint8 with their labels (N,)."""

    images: Images
    labels: Labels
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: Any) -> tuple[Tensor, Tensor]:
        """Images in uint8 and labels at `positions` (an array or a slice) of this slice, on the CPU."""
        rows = self.indices[positions]
        return torch.from_numpy(np.ascontiguousarray(self.images[rows])), torch.from_numpy(self.labels[rows])


@dataclass(frozen=True)
class Splits:
    """Disjoint slices of the training images: `train` trains, `score` ranks plans, `select` picks checkpoints."""

    train: Slice
    score: Slice
    select: Slice


@dataclass(frozen=True)
class Normalizer:
    """From uint8 images to normalised float32 ones on a device; `mean` and `std` (C,) are in 0..1 units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def __call__(self, images: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, device=self.device).mul_(255).view(1, -1, 1, 1)
        scale = torch.tensor(self.std, device=self.device).mul_(255).reciprocal_().view(1, -1, 1, 1)
        values = images.to(self.device, non_blocking=True).to(torch.float32, memory_format=LAYOUT)
        return values.sub_(mean).mul_(scale)


def normalizer(dataset: Dataset, device: torch.device) -> Normalizer:
    return Normalizer(dataset.mean, dataset.std, device)


def test_slice(dataset: Dataset) -> Slice:
    """All test images. Nothing that chooses may look at them."""
    return Slice(dataset.test_images, dataset.test_labels, np.arange(len(dataset.test_labels)))


test_slice.__test__ = False  # type: ignore[attr-defined]  # a name that pytest would collect where it is imported


def split(dataset: Dataset, data: DataSpec) -> Splits:
    """Stratified slices, the same for every study on the same data; with `data.validation`, its halves.

    Raises `UserError` when a class would have no image left to train on, or when the validation images do not fit.
    """
    everything = np.arange(len(dataset.train_labels))
    generator = numpy_generator(SPLIT_SEED)
    if data.validation is not None:
        images, labels = _validation(dataset, data)
        score = stratified(labels, (len(labels) + 1) // 2, generator)
        select = np.setdiff1d(np.arange(len(labels)), score)
        train = Slice(dataset.train_images, dataset.train_labels, everything)
        return Splits(train, Slice(images, labels, score), Slice(images, labels, select))
    wanted = data.score_images + data.select_images
    if wanted + len(dataset.classes) > len(everything):
        raise UserError(
            f"data.score_images: {data.score_images} to score and {data.select_images} to select leave too few of "
            f"{len(everything)} training images to train {len(dataset.classes)} classes; lower data.score_images or "
            "data.select_images"
        )
    labels = dataset.train_labels
    score = stratified(labels, data.score_images, generator)
    rest = np.setdiff1d(everything, score)
    select = rest[stratified(labels[rest], data.select_images, generator)]
    kept = np.setdiff1d(rest, select)
    starved = sorted(set(range(len(dataset.classes))) - set(labels[kept].tolist()))
    if starved:
        raise UserError(
            f"data.score_images: class {dataset.classes[starved[0]]!r} has no image left to train on, got "
            f"{data.score_images} to score and {data.select_images} to select; lower them or add images of that class"
        )
    return Splits(*(Slice(dataset.train_images, labels, indices) for indices in (kept, score, select)))


def _validation(dataset: Dataset, data: DataSpec) -> tuple[Images, Labels]:
    """Images and labels of the user's own validation folder, in the dataset's classes."""
    where, source = "data.validation", Path(data.validation or "")
    if not source.exists():
        raise UserError(f"{where}: {source} does not exist; give a folder of <class>/<image>")
    size, mode = data.options.get("size"), "L" if dataset.input_shape[0] == 1 else "RGB"

    def build(folder: Path) -> dict[str, Any]:
        return {"classes": decode(source, ("",), folder, mode=mode, size=size, where=where)[""]}

    folder = cached(data.cache, source, {"dataset": "validation", "size": size, "mode": mode}, build)
    images, found = read_array(folder, "_images"), read_meta(folder)["classes"]
    unknown, missing = sorted(set(found) - set(dataset.classes)), sorted(set(dataset.classes) - set(found))
    problems = [
        f"{where}: class folder {name!r} in {source} is not a class of the training data; remove it" for name in unknown
    ]
    problems += [f"{where}: {source} has no folder for class {name!r}; every class must be scored" for name in missing]
    if images.shape[1:] != dataset.input_shape:
        problems.append(
            f"{where}: images must have the shape of the training images {dataset.input_shape}, got {images.shape[1:]}; "
            "resize them"
        )
    if problems:
        raise UserError(problems)
    place = np.array([dataset.classes.index(name) for name in found], dtype=np.int64)
    labels = place[read_array(folder, "_labels")]
    if len(labels) < 2:
        raise UserError(f"{where}: {source} has {len(labels)} image; two are the least, one to score and one to select")
    return images, labels


def batches_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches; what is left over waits for the next epoch's order. At least one, smaller if need be."""
    return max(1, images // batch_size)


def batches(
    view: Slice,
    batch_size: int,
    normalize: Normalizer,
    *,
    seed: int,
    epoch: int,
    augment: Sequence[str] = (),
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of normalised images (B, C, H, W) and labels (B,) on the device.

    Order and augmentation are functions of (seed, epoch), so an epoch can be repeated or resumed at. Of `world`
    processes each gets its share of the same batches.
    """
    order = numpy_generator(derive(seed, "order", epoch)).permutation(len(view))
    generator = torch_generator(derive(seed, "augment", epoch, rank))
    for number in range(batches_per_epoch(len(view), batch_size)):
        chosen = order[number * batch_size : (number + 1) * batch_size][rank::world]
        images, labels = view.take(chosen)
        images = images.to(normalize.device, non_blocking=True)
        if "crop" in augment:
            images = random_crop(images, generator)
        if "flip" in augment:
            images = random_flip(images, generator)
        yield normalize(images), labels.to(normalize.device, non_blocking=True)


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (B, C, H, W) moved by its own up to max(1, side // 8) pixels; black comes in from outside."""
    number, _, height, width = images.shape
    high, wide = max(1, height // PAD_SHARE), max(1, width // PAD_SHARE)
    padded = functional.pad(images, (wide, wide, high, high))
    down = torch.randint(0, 2 * high + 1, (number,), generator=generator).to(images.device)
    right = torch.randint(0, 2 * wide + 1, (number,), generator=generator).to(images.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(number, device=images.device), :, down, right]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (B, C, H, W) mirrored left to right or not, at even odds."""
    mirrored = torch.randint(0, 2, (len(images), 1, 1, 1), generator=generator, dtype=torch.bool).to(images.device)
    return torch.where(mirrored, images.flip(3), images)


def in_chunks(view: Slice, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, in uint8, with labels, on the CPU."""
    for start in range(0, len(view), size):
        yield view.take(slice(start, start + size))
