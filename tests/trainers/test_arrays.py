"""Images that are arrays already: what is in the folder, and what may be wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pqsearch.errors import UserError
from tests.trainers.small import array_folder
from trainers.datasets import arrays


def test_images_stay_on_disk_and_names_come_from_a_file(tmp_path: Path) -> None:
    folder = array_folder(tmp_path / "a")
    (folder / "classes.txt").write_text("cat\ndog\nhen\ncow\n")
    found = arrays.load(str(folder), None, mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.5])
    assert isinstance(found.train_images, np.memmap)
    assert found.classes == ("cat", "dog", "hen", "cow")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("train_images", np.zeros((40, 3, 8, 8)), "training data in {} must be images (N, C, H, W) in uint8"),
        ("test_images", np.zeros((20, 3, 9, 8), np.uint8), "must be images of (3, 8, 8) as the training images"),
        ("train_labels", np.arange(40) / 4, "must be whole numbers (N,), got float64"),
        ("train_labels", np.arange(39) % 4, "must have a label for each image, got 40 images and 39 labels"),
        ("test_labels", np.arange(20) - 1, "must have labels from 0 to"),
        ("train_labels", np.arange(40) % 3, "has no training image of 3"),
    ],
)
def test_what_training_would_fail_on_is_told_in_a_line(
    name: str, array: np.ndarray, words: str, tmp_path: Path
) -> None:
    folder = array_folder(tmp_path / "a", **{name: array})
    with pytest.raises(UserError) as caught:
        arrays.load(str(folder), None)
    assert words.format(folder) in str(caught.value)


def test_a_file_that_is_not_there_or_holds_objects_is_named(tmp_path: Path) -> None:
    folder = array_folder(tmp_path / "a")
    np.save(folder / "test_labels.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(UserError, match=r"test_labels\.npy is no array"):
        arrays.load(str(folder), None)
    (folder / "test_labels.npy").unlink()
    with pytest.raises(UserError, match=r"test_labels\.npy does not exist"):
        arrays.load(str(folder), None)
    with pytest.raises(UserError, match=r"data\.root: is required"):
        arrays.load(None, None)
