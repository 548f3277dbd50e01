"""Processes that share a training: what comes of it is what one process makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pqsearch.spec import FinetuneSpec
from tests.trainers.gang import Gang, gang
from tests.trainers.small import CPU, PLAN, TRAINING, same_weights, small_context, small_data, small_spec
from trainers import files
from trainers.baseline import TrainingDiverged, train_baseline
from trainers.data import Loader
from trainers.distributed import ALONE, World
from trainers.full import finetune, select_and_test
from trainers.loop import evaluate_all

#: What rounding makes of a weight in a training as short as these, as `docs/training.md` states it.
TOLERANCE = 1e-3
#: In float32, and without what processes cannot have in common.
EXACT = {**TRAINING, "freeze_batch_norm": True, "amp": False}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gang]:
    with gang(2, tmp_path_factory.mktemp("gang")) as found:
        yield found


def _spec(augment: tuple[str, ...] = ("crop", "flip")) -> Any:
    return small_spec(data={"augment": list(augment)})


def _finetune(folder: Path, shared: bool, augment: tuple[str, ...], keys: dict[str, Any]) -> dict[str, Any]:
    world = World.joined() if shared else ALONE
    context = small_context(folder / str(world.rank), _spec(augment))
    settings = FinetuneSpec(**{**EXACT, **keys})
    (folder / "plan").mkdir(exist_ok=True)
    return finetune(context, "searched", PLAN, folder / "plan", settings, world=world)


def _both(
    pair: Gang, folder: Path, augment: tuple[str, ...] = ("crop", "flip"), **keys: Any
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """The results of one process and of two, and how far their weights are from each other at most."""
    for name in ("one", "two"):
        (folder / name).mkdir()
    one = _finetune(folder / "one", False, augment, keys)
    two, other = pair.call(_finetune, folder / "two", True, augment, keys)
    assert other == {**two, "seconds": other["seconds"]}
    first, second = (files.load(folder / name / "plan" / "weights.pth") for name in ("one", "two"))
    return one, two, max(float((first[key] - second[key]).abs().max()) for key in first)


@pytest.mark.parametrize(
    ("augment", "keys"),
    [
        (("crop", "flip", "erase", "trivial_augment"), {}),
        (("crop",), {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}),
        ((), {"ema": 0.9, "clip": 0.5, "distillation": 0.5, "optimizer": "adamw", "lr": 0.005}),
    ],
)
def test_two_processes_train_what_one_does(
    pair: Gang, tmp_path: Path, augment: tuple[str, ...], keys: dict[str, Any]
) -> None:
    one, two, apart = _both(pair, tmp_path, augment, **keys)
    assert apart < TOLERANCE
    assert two["best_epoch"] == one["best_epoch"] > 0
