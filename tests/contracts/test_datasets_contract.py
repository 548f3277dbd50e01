"""What every file in `trainers/datasets/` must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.errors import UserError
from tests.trainers.small import array_folder, fake_cifar, picture_tree, write_tree
from trainers.datasets._types import Dataset

NAMES = rooms.names("datasets")


def _root(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Data for the datasets that need some; a new one that does gets its line here."""
    if name == "arrays":
        return str(array_folder(folder / "arrays"))
    if name == "image_folder":
        return str(write_tree(picture_tree(), folder / "images"))
    if name == "imagenet":
        return str(write_tree(picture_tree(held_out="val"), folder / "images"))
    if name == "cifar10":
        return str(fake_cifar(folder / "cifar", monkeypatch))
    if name == "cifar100":
        return str(fake_cifar(folder / "cifar", monkeypatch, images=200, classes=100))
    return None


@pytest.fixture(params=NAMES)
def loaded(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Any]:
    root = _root(request.param, tmp_path, monkeypatch)

    def load() -> Dataset:
        return rooms.load("datasets", request.param)(root, str(tmp_path / "cache"))

    return load(), load


def test_images_are_bytes_in_channels_height_width_order(loaded: tuple[Dataset, Any]) -> None:
    dataset, _ = loaded
    for images in (dataset.train_images, dataset.test_images):
        assert images.dtype == np.uint8
        assert images.ndim == 4
        assert tuple(images.shape[1:]) == dataset.input_shape
    assert dataset.input_shape[0] in (1, 3)


def test_labels_index_the_classes_and_every_class_can_be_trained(loaded: tuple[Dataset, Any]) -> None:
    dataset, _ = loaded
    assert len(dataset.train_labels) == len(dataset.train_images)
    assert len(dataset.test_labels) == len(dataset.test_images)
    assert len(set(dataset.classes)) == len(dataset.classes) >= 2
    assert set(dataset.train_labels.tolist()) == set(range(len(dataset.classes)))
    assert set(dataset.test_labels.tolist()) <= set(range(len(dataset.classes)))


def test_normalised_training_images_have_mean_zero_and_deviation_one_unless_the_file_says_otherwise(
    loaded: tuple[Dataset, Any], request: pytest.FixtureRequest
) -> None:
    dataset, _ = loaded
    if published := rooms.constants("datasets", request.node.callspec.params["loaded"]).get("STATISTICS"):
        assert (dataset.mean, dataset.std) == published
        return
    assert len(dataset.mean) == len(dataset.std) == dataset.input_shape[0]
    values = np.asarray(dataset.train_images).swapaxes(0, 1).reshape(dataset.input_shape[0], -1) / 255
    np.testing.assert_allclose(values.mean(1), dataset.mean, atol=1e-9)
    spread = values.std(1)
    np.testing.assert_allclose(np.where(spread > 0, spread, 1), dataset.std, atol=1e-9)


def test_loading_again_gives_the_same(loaded: tuple[Dataset, Any]) -> None:
    first, load = loaded
    second = load()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert (first.classes, first.mean, first.std) == (second.classes, second.mean, second.std)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained(name: str) -> None:
    assert all(option.doc for option in rooms.signature("datasets", name))
    assert rooms.describe("datasets", name)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
@pytest.mark.parametrize("root", [None, "/nowhere/at/all"])
def test_a_missing_root_is_named(name: str, root: str | None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.root: "):
        rooms.load("datasets", name)(root, str(tmp_path))
