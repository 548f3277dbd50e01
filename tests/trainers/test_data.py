from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pqsearch.errors import UserError
from tests.trainers.small import CPU, picture, small_data, small_spec, write_tree
from trainers.data import Loader, Slice, split
from trainers.datasets._types import Dataset

SHIFTED = ("crop",)


def _numbered(count: int = 40, side: int = 8) -> Dataset:
    """Images whose pixels are all their own number, plus one bright column on the left."""
    images = np.repeat(np.arange(count, dtype=np.uint8), 3 * side * side).reshape(count, 3, side, side).copy()
    images[..., 0] = 200
    labels = np.arange(count) % 2
    return Dataset(images, labels, images[:4], labels[:4], ("a", "b"), (0.0,) * 3, (1 / 255,) * 3, "numbers")


def _loader(count: int = 40, side: int = 8) -> Loader:
    dataset = _numbered(count, side)
    return Loader(dataset, Slice(dataset.train_images, dataset.train_labels, np.arange(count)), CPU)


def test_slices_are_disjoint_stratified_and_cover_the_training_images() -> None:
    dataset, splits = small_data(small_spec())
    assert (len(splits.score), len(splits.select)) == (100, 60)
    everything = np.concatenate([part.indices for part in (splits.train, splits.score, splits.select)])
    assert np.array_equal(np.sort(everything), np.arange(len(dataset.train_labels)))
    for part in (splits.score, splits.select):
        assert np.ptp(np.bincount(dataset.train_labels[part.indices], minlength=10)) <= 2


def test_slices_do_not_depend_on_the_studys_seed() -> None:
    _, first = small_data(small_spec(study={"seed": 1}))
    _, second = small_data(small_spec(study={"seed": 2}))
    assert np.array_equal(first.score.indices, second.score.indices)
    assert np.array_equal(first.select.indices, second.select.indices)


def test_the_score_slice_does_not_depend_on_the_size_of_the_other() -> None:
    _, first = small_data(small_spec())
    _, second = small_data(small_spec(data={"select_images": 30}))
    assert np.array_equal(first.score.indices, second.score.indices)


@pytest.mark.parametrize("score", [100_000, 540])
def test_too_few_images_for_the_slices_are_refused(score: int) -> None:
    with pytest.raises(UserError, match=r"^data\.score_images: .*lower"):
        small_data(small_spec(data={"score_images": score}))


def test_a_rare_class_must_keep_an_image_to_train_on() -> None:
    images = np.zeros((40, 1, 8, 8), dtype=np.uint8)
    labels = np.array([0] * 38 + [1, 1])
    dataset = Dataset(images, labels, images, labels, ("common", "rare"), (0.0,), (1.0,), "made")
    spec = small_spec(data={"score_images": 17, "select_images": 17})
    with pytest.raises(UserError, match="rare"):
        split(dataset, spec.data)


def _validation(folder: Path, classes: int = 10, each: int = 4) -> Path:
    tree = {f"{name}/{number}.png": picture(20 * name + number) for name in range(classes) for number in range(each)}
    return write_tree({str(name): data for name, data in tree.items()}, folder)


def test_a_validation_folder_scores_and_selects_and_everything_else_trains(tmp_path: Path) -> None:
    folder = _validation(tmp_path / "own")
    dataset, splits = small_data(small_spec(data={"validation": str(folder), "cache": str(tmp_path / "cache")}))
    assert len(splits.train) == len(dataset.train_labels)
    assert (len(splits.score), len(splits.select)) == (20, 20)
    assert splits.score.images.shape[1:] == dataset.input_shape
    assert not set(splits.score.indices.tolist()) & set(splits.select.indices.tolist())
    assert np.bincount(splits.score.labels[splits.score.indices]).tolist() == [2] * 10


def test_a_validation_folder_must_have_the_classes_of_the_data(tmp_path: Path) -> None:
    folder = _validation(tmp_path / "own", classes=9)
    with pytest.raises(UserError, match=r"^data\.validation: "):
        small_data(small_spec(data={"validation": str(folder), "cache": str(tmp_path / "cache")}))


def test_a_validation_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.validation: .*does not exist"):
        small_data(small_spec(data={"validation": str(tmp_path / "none")}))


def test_images_are_normalised_by_the_datasets_mean_and_deviation() -> None:
    dataset, splits = small_data(small_spec())
    images, labels = Loader(dataset, splits.train, CPU).take(np.arange(5))
    rows = splits.train.indices[:5]
    expected = (dataset.train_images[rows] / 255 - dataset.mean[0]) / dataset.std[0]
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-5)
    assert images.dtype == torch.float32
    assert labels.tolist() == dataset.train_labels[rows].tolist()


def test_plain_batches_give_every_image_once_in_order() -> None:
    _, labels = zip(*_loader(40).plain(), strict=True)
    assert torch.cat(labels).tolist() == [number % 2 for number in range(40)]


def test_large_images_come_in_smaller_batches() -> None:
    sizes = [len(labels) for _, labels in _loader(40, side=256).plain()]
    assert sizes == [8] * 5


def test_an_epoch_is_a_function_of_its_seed() -> None:
    loader = _loader()
    first, again, other = (list(loader.epoch(10, ("crop", "flip"), "x", seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) and torch.equal(p, q) for (a, p), (b, q) in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_a_sample_has_the_same_images_augmented_or_not() -> None:
    plain, labels = _loader().sample(30, "x")
    flipped, same = _loader().sample(30, "x", augment=("flip",))
    mirrored = [torch.equal(one, other.flip(2)) for one, other in zip(flipped, plain, strict=True)]
    assert torch.equal(labels, same)
    assert all(turned or torch.equal(one, other) for turned, one, other in zip(mirrored, flipped, plain, strict=True))
    assert 0 < sum(mirrored) < 30


def test_an_epoch_gives_whole_batches_without_repeating_an_image() -> None:
    numbers = [int(image[0, 0, -1]) for images, _ in _loader(40).epoch(12, (), "x") for image in images]
    assert len(numbers) == len(set(numbers)) == 36


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert [len(labels) for _, labels in _loader(40).epoch(64, (), "x")] == [40]


def test_crops_shift_by_at_most_an_eighth_and_flips_mirror() -> None:
    loader = _loader(200)
    starts = set()
    for images, _ in loader.epoch(200, SHIFTED, "x"):
        for image in images:
            columns = image[0].max(0).values  # the bright column, wherever it went
            starts.add(int(columns.argmax()) if columns.max() == 200 else "left")
    assert starts == {"left", 0, 1}
    sides = {int(image[0, 4].argmax()) for images, _ in loader.epoch(200, ("flip",), "x") for image in images}
    assert sides == {0, 7}


def test_a_shifted_image_is_the_original_moved() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 256, (30, 1, 8, 8), dtype=np.uint8)
    dataset = Dataset(pixels, np.arange(30), pixels, np.arange(30), tuple("ab"), (0.0,), (1 / 255,), "noise")
    loader = Loader(dataset, Slice(pixels, dataset.train_labels, np.arange(30)), CPU)
    for images, labels in loader.epoch(30, SHIFTED, "x"):
        for image, label in zip(images[:, 0].numpy(), labels.tolist(), strict=True):
            padded = np.pad(pixels[label, 0], 1)
            windows = [padded[y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
            assert any(np.allclose(image, window, atol=1e-3) for window in windows)
