"""A dataset of the user's: what their function returns, checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.own import load_own
from trainers.datasets._sequences import decode
from trainers.datasets._types import Dataset, Images, Labels, channel_statistics


def load_users(
    name: str, folder: str | None, root: str | None, cache: str | None, options: Mapping[str, Any]
) -> Dataset:
    """Call `module:function` with the options of `[data]`, and `root` and `cache` if it takes them.

    It returns a `trainers.Dataset`, or training and test data, each arrays of images (N, C, H, W) in uint8 and labels (N,), or a
    sequence of pairs of an image and a label as torch has them. Raises `UserError` for anything else.
    """
    function = load_own(name, folder, "data.name")
    try:
        parameters = set(inspect.signature(function).parameters)
    except ValueError:
        parameters = set()
    given = {key: value for key, value in (("root", root), ("cache", cache)) if key in parameters}
    try:
        found = function(**given, **options)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"data.name: {name} failed with {dict(options)}: {type(error).__name__}: {reason}") from None
    dataset = found if isinstance(found, Dataset) else _made_of(found, name)
    return checked(dataset, f" of {name}", name)


def checked(dataset: Dataset, owner: str, name: str) -> Dataset:
    """The dataset, or `UserError` with all that training would fail on; `owner` and `name` are how it is called in its lines."""
    if problems := list(_problems(dataset, owner, name)):
        raise UserError(problems)
    return dataset


def _made_of(found: Any, name: str) -> Dataset:
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise UserError(
            f"data.name: {name} must return a trainers.Dataset, or training and test data, got {type(found).__name__}"
        )
    (train, train_labels), (test, test_labels) = (
        _arrays(part, f"data.name: {words} of {name}")
        for part, words in zip(found, ("training data", "test data"), strict=True)
    )
    count = int(max(train_labels.max(), test_labels.max())) + 1
    names = next((part.classes for part in found if hasattr(part, "classes")), [str(label) for label in range(count)])
    # Where it is no images the reason is told below.
    mean, std = channel_statistics(train) if train.dtype == np.uint8 and train.ndim == 4 else ((), ())
    return Dataset(train, train_labels, test, test_labels, tuple(map(str, names)), mean, std, name)


def _arrays(part: Any, where: str) -> tuple[Images, Labels]:
    if isinstance(part, (tuple, list)) and len(part) == 2 and all(hasattr(one, "shape") for one in part):
        return part[0], np.asarray(part[1], dtype=np.int64)
    if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise UserError(f"{where} must be arrays or a sequence, got {type(part).__name__}")
    return decode(part, None, where)


def _problems(dataset: Dataset, owner: str, name: str) -> Iterator[str]:
    classes = len(dataset.classes)
    for words, images, labels in (
        ("training", dataset.train_images, dataset.train_labels),
        ("test", dataset.test_images, dataset.test_labels),
    ):
        where = f"data.name: {words} data{owner}"
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            yield f"{where} must be images (N, C, H, W) in uint8 of one or three channels, got {images.dtype} {images.shape}"
        elif images.shape[1:] != dataset.train_images.shape[1:]:
            yield f"{where} must be images of {dataset.train_images.shape[1:]} as the training images, got {images.shape[1:]}"
        if len(images) != len(labels) or not len(labels):
            yield f"{where} must have a label for each image, got {len(images)} images and {len(labels)} labels"
        elif labels.min() < 0 or labels.max() >= classes:
            yield f"{where} must have labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}"
    if classes < 2:
        yield f"data.name: {name} must have two classes or more, got {classes}"
    else:
        absent = sorted(set(range(classes)) - set(np.unique(dataset.train_labels).tolist()))
        if absent:
            yield f"data.name: {name} has no training image of {', '.join(dataset.classes[one] for one in absent[:5])}"
