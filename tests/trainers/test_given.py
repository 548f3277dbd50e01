"""Data in memory: bytes and what transforms made of them, arrays, datasets, loaders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torchvision.transforms import v2

from pqsearch.errors import UserError
from trainers.datasets._given import class_names, given_arrays, is_scaled

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 3
MEAN, STD = [0.49, 0.48, 0.45], [0.2, 0.21, 0.22]


class Pictures:
    """As torchvision has them: pictures, a transform, names."""

    classes = ("cat", "dog", "hen")

    def __init__(self, transform: Any = None) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = Image.fromarray(IMAGES[index].transpose(1, 2, 0))
        return (self.transform(picture) if self.transform else picture), int(LABELS[index])


def _given(source: Any, mean: Any = None, std: Any = None) -> tuple[Any, Any]:
    return given_arrays(source, mean, std, "training data", lambda shape: np.empty(shape, np.uint8))


_SCALED = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
_NORMALISED = v2.Compose([_SCALED, v2.Normalize(MEAN, STD)])


@pytest.mark.parametrize(
    "source",
    [
        (IMAGES, LABELS),
        (torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
        (IMAGES.astype(np.float32) / 255, LABELS),
        TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
        Pictures(),
        DataLoader(Pictures(_SCALED), batch_size=5, shuffle=True),
    ],
    ids=["arrays", "tensors", "scaled arrays", "tensor dataset", "pictures", "shuffled loader"],
)
def test_the_bytes_come_back_in_the_order_of_the_dataset(source: Any) -> None:
    images, labels = _given(source)
    assert np.array_equal(images, IMAGES) and np.array_equal(labels, LABELS)


def test_normalising_is_undone_by_what_the_spec_says_it_was() -> None:
    images, _ = _given(DataLoader(Pictures(_NORMALISED)), MEAN, STD)
    assert np.array_equal(images, IMAGES)
    with pytest.raises(UserError, match=r"image 0 must be bytes, or .* state in \[data\] what they were normalised by"):
        _given(Pictures(_NORMALISED))


def test_names_are_found_through_subsets_and_loaders_and_kinds_are_told_apart() -> None:
    subset = Subset(Pictures(_SCALED), [3, 1, 2])  # type: ignore[arg-type]
    assert class_names(DataLoader(subset)) == ["cat", "dog", "hen"]
    assert class_names((IMAGES, LABELS)) is None
    assert np.array_equal(_given(subset)[0], IMAGES[[3, 1, 2]])
    assert is_scaled(subset, "data") and is_scaled((IMAGES / 255, LABELS), "data")
    assert not is_scaled(Pictures(), "data") and not is_scaled((IMAGES, LABELS), "data")


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter([(IMAGES[0], 0)])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Pictures(v2.RandomCrop(8, 4)), "must be the same each time, image 0 is not; leave augmenting to [data] augment"),
        (DataLoader(Stream()), "a dataset with a length or a loader of one, got Stream"),
        (None, "got NoneType"),
        ((IMAGES, LABELS[:5]), "one label an image, got images (12, 3, 8, 8) and labels (5,)"),
        ((IMAGES[:0], LABELS[:0]), "has no images"),
        ((IMAGES / 255 + 0.002, LABELS), "image 0 must be bytes"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_told_in_a_line(source: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        _given(source)
    assert words in str(caught.value)
