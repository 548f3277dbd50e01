"""The full fine-tune of a plan (or of the float baseline), and the one look at the test images."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pqsearch.plan import Accuracy, Plan
from pqsearch.spec_network import FinetuneSpec, TrainSpec
from trainers import files
from trainers.baseline import TrainingDiverged, recipe
from trainers.calibrators._work import Work
from trainers.data import Loader, Slice, Splits
from trainers.datasets._types import Dataset
from trainers.distributed import ALONE, World
from trainers.loop import Trainer, evaluate, evaluate_all
from trainers.proxy import Context, calibrate, compressed, reconstruct
from trainers.seeds import derive
from trainers.selecting import train_and_select
from trainers.task import CLASSIFY, Task, accuracy_of
from trainers.teacher import teacher_of

#: With so many classes and fewer the first five answers say little.
FEW_CLASSES = 20


def finetune(
    context: Context,
    role: str,
    plan: Plan | None,
    folder: Path,
    settings: FinetuneSpec,
    progress: Callable[[dict[str, Any]], None] = lambda state: None,
    world: World = ALONE,
) -> dict[str, Any]:
    """Train in `folder`, keep the epoch that the select slice likes best, test it once; returns the result's JSON.

    `plan` None is the float baseline given the same training. A finished result is returned as it is, an interrupted
    training goes on exactly where its last epoch ended. Of several processes that share it the first writes and tells `progress`; all
    return the result. Raises `TrainingDiverged`.
    """
    finished = folder / "result.json"
    found = world.agreed(lambda: json.loads(finished.read_text()) if finished.is_file() else None)
    if found is not None:
        return found
    spec = context.spec
    checkpoint, kept = folder / "checkpoint.pth", folder / "reconstruction-checkpoint.pth"
    model = compressed(context, plan or Plan())

    def reconstructed(done: int, total: int) -> None:
        if world.first:
            progress({"done": 0, "total": settings.epochs, "reconstructed": [done, total]})

    try:
        if spec.reconstruction is None or plan is None or world.agreed(checkpoint.is_file):
            calibrate(context, model, spec.calibration_images)
        else:
            reconstruct(context, model, spec.reconstruction, Work(reconstructed, kept if world.first else None))
    except FloatingPointError as error:
        raise TrainingDiverged(
            f"the full fine-tune of {role}: {error} while it is calibrated; prune less of it"
        ) from None
    select = Loader(context.dataset, context.splits.select, context.device)
    teacher, more = _lessons(context, settings)
    trainer = Trainer(model, recipe(settings, context.train, **more), context.device, teacher, world)
    trained = train_and_select(
        trainer, model, context.train, select, spec, settings, "finetune", role, checkpoint, context.task, progress, world
    )  # fmt: skip
    best = trained.best
    correct = folder / "correct.npy" if world.first else None
    result = {
        "role": role,
        "plan_hash": plan.hash if plan else None,
        "epochs": settings.epochs,
        "best_epoch": best.epoch,
        "seconds": trained.seconds,
        **_accuracy("select", best.of(len(select))),
        **evaluate_test(model, context.dataset, context.device, correct, context.task, world),
    }
    if not world.first:
        return result
    files.save(best.weights, folder / "weights.pth")
    with files.atomic(folder / "steps.json") as file:
        file.write(json.dumps(trained.steps).encode())
    with files.atomic(finished) as file:
        file.write(json.dumps(result, indent=2).encode())
    for done_with in (checkpoint, kept):
        done_with.unlink(missing_ok=True)
    return result


def evaluate_test(
    model: nn.Module,
    dataset: Dataset,
    device: torch.device,
    correct: Path | None = None,
    task: Task = CLASSIFY,
    world: World = ALONE,
) -> dict[str, Any]:
    """Accuracy on the test images with number and standard error, the share whose class is among the first five answers where there
    are many; the score of each, by default whether it is right, goes to the file `correct`. With a metric of the user's the
    accuracy is its mean.
    """
    everything = np.arange(len(dataset.test_labels))
    loader = Loader(dataset, Slice(dataset.test_images, dataset.test_labels, everything), device)
    found = evaluate_all(model.to(memory_format=torch.channels_last), loader, task, world)
    if correct is not None:
        with files.atomic(correct) as file:
            np.save(file, found.scores)
    # Beside a metric of the user's the first five answers would be a second kind of accuracy.
    several = len(dataset.classes) > FEW_CLASSES and task.metric is None
    more = {"test_top5_accuracy": float(found.among.mean())} if several else {}
    return {**_accuracy("test", accuracy_of(found.scores)), **more}


def select_and_test(
    model: nn.Module,
    dataset: Dataset,
    splits: Splits,
    device: torch.device,
    correct: Path,
    task: Task = CLASSIFY,
) -> dict[str, Any]:
    """Accuracy on the select slice and on the test images: what is reported of the baseline."""
    scores, _ = evaluate(model, Loader(dataset, splits.select, device), task)
    return {**_accuracy("select", accuracy_of(scores)), **evaluate_test(model, dataset, device, correct, task)}


def _accuracy(name: str, found: Accuracy) -> dict[str, Any]:
    return {
        f"{name}_accuracy": found.value,
        f"{name}_images": found.images,
        f"{name}_standard_error": found.standard_error,
    }


def _lessons(context: Context, settings: FinetuneSpec) -> tuple[nn.Module | None, dict[str, Any]]:
    """Who teaches a full fine-tune, and what the recipe says beyond that of a baseline."""
    # The float network too learns from itself as it was: the same training for everyone.
    taught = bool(settings.distillation or settings.feature_distillation)
    teacher = context.baseline if taught else None
    if taught and settings.teacher is not None:
        teacher = teacher_of(settings.teacher, context.dataset).to(context.device).to(memory_format=torch.channels_last)
    return teacher, {
        "distillation": settings.distillation,
        "temperature": settings.temperature,
        "feature_distillation": settings.feature_distillation,
        "feature_layers": tuple(settings.feature_layers),
        "step_share": settings.quantizer_lr,
        "seed": context.spec.study.seed,
        "task": context.task,
        "frozen_norms": settings.freeze_batch_norm,
    }


def time_step(context: Context, plan: Plan | None, settings: TrainSpec, steps: int) -> float:
    """Seconds of one training step as `settings` say, of a plan (None: of the float network), the mean of `steps`.

    Where processes share every batch it is one process's part of it.
    """
    model = compressed(context, plan or Plan())
    if plan is not None:
        calibrate(context, model, context.spec.rungs[0].images)
    settings = settings.model_copy(update={"epochs": 1, "sync_batch_norm": False})
    teacher, more = (
        _lessons(context, settings) if isinstance(settings, FinetuneSpec) else (None, {"task": context.task})
    )
    trainer = Trainer(model, recipe(settings, context.train, **more), context.device, teacher)
    images, labels = context.train.sample(settings.batch_size // settings.workers, "timing", derive("timing"))
    trainer.run([(images, labels)])
    began = time.perf_counter()
    trainer.run([(images, labels)] * steps)
    return (time.perf_counter() - began) / steps
