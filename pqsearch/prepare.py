"""From a spec to the things it names: data, model, layers, space. All that can be wrong shows here, before training."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pqsearch.errors import UserError
from pqsearch.plan import ModelInfo
from pqsearch.plan_file import given_plans
from pqsearch.process_problems import FEWEST_IMAGES
from pqsearch.space_of import check_counted, space_of
from pqsearch.spec import Spec, shared_trainings
from pqsearch.spec_network import TORCHVISION
from search_spaces.space import Space
from trainers.baseline import initial_model
from trainers.coupling import Traced
from trainers.data import Splits, split
from trainers.dataset_of import dataset_of
from trainers.datasets._types import Dataset
from trainers.features import check_features
from trainers.fixed_point.ahead import WAY_OUT, integer_problem
from trainers.heads import check_classes, check_training
from trainers.layers import trace
from trainers.task import Task, checked_task
from trainers.teacher import teacher_of


@dataclass(frozen=True)
class Prepared:
    """A spec brought to life: nothing trained yet."""

    spec: Spec
    dataset: Dataset
    splits: Splits
    traced: Traced
    space: Space
    task: Task

    @property
    def info(self) -> ModelInfo:
        return self.traced.info


def load_data(spec: Spec) -> tuple[Dataset, Splits]:
    """The images and who uses which: training, scoring, selecting."""
    dataset = dataset_of(spec.data)
    return dataset, split(dataset, spec.data)


def worker_problems(spec: Spec) -> list[str]:
    """Workers that this machine cannot hold; on a cluster Ray knows better and is asked there."""
    if os.environ.get("RAY_ADDRESS"):
        return []
    problems = []
    if spec.workers.gpus and not torch.cuda.is_available():
        problems.append(f"workers.gpus: torch sees no GPU on this machine, got {spec.workers.gpus:g}; set it to 0")
    cores = os.cpu_count() or 1
    crowds = [("workers.count", "workers", spec.workers.count)]
    crowds += [(f"{key}.workers", "processes", processes) for key, processes in shared_trainings(spec)]
    for key, who, number in crowds:
        if (wanted := number * spec.workers.cpus) > cores:
            problems.append(
                f"{key}: {number} {who} of {spec.workers.cpus:g} cpus need {wanted:g} cores, this machine has {cores}; "
                f"lower {key} or workers.cpus"
            )
        if torch.cuda.is_available() and (wanted := number * spec.workers.gpus) > (seen := torch.cuda.device_count()):
            where, also = ("workers.gpus", " or workers.gpus") if who == "workers" else (key, "")
            problems.append(
                f"{where}: {number} {who} of {spec.workers.gpus:g} gpus need {wanted:g}, torch sees {seen} on this machine; "
                f"lower {key}{also}"
            )
    return problems


def check_integers(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Raises `UserError` for a network that has no integer form."""
    if problem := integer_problem(model, input_shape):
        raise UserError(f"fixed_point: {problem}; {WAY_OUT}")


def check_plan_bits(spec: Spec, space: Space) -> None:
    """Raises `UserError` where plans may have layers of one bit, which `[fixed_point]` would take over and has no step for."""
    if spec.fixed_point is None or not spec.fixed_point.plan_bits:
        return
    bits = (knob for knob in space.knobs if knob.kind in ("bits", "weight_bits", "act_bits") and min(knob.values) < 2)
    if names := dict.fromkeys(name for knob in bits for name in knob.names):
        raise UserError(
            f"fixed_point.plan_bits: [space] lets these layers have 1 bit: {', '.join(names)}; a step that is a power of two has "
            "2 to 16 bits, got true; leave it out, or give them more"
        )


def _share_problems(spec: Spec, splits: Splits) -> list[str]:
    """Trainings shared by more processes than there are images for."""
    return [
        f"{key}.workers: {processes} processes need {FEWEST_IMAGES} training images each, the data leave {len(splits.train)}; "
        f"lower {key}.workers"
        for key, processes in shared_trainings(spec)
        if len(splits.train) < FEWEST_IMAGES * processes
    ]


def prepare(spec: Spec) -> Prepared:
    """Everything a search needs but a trained baseline. Raises `UserError` with all problems that can be seen at once."""
    problems: list[str] = []

    def attempt(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except UserError as error:
            problems.extend(error.problems)
            return None

    problems.extend(worker_problems(spec))
    weights = spec.model.weights
    if weights and not weights.startswith(TORCHVISION) and not Path(weights).is_file():
        problems.append(f"model.weights: {weights} does not exist; give a state dict written by torch.save")
    data = attempt(lambda: load_data(spec))
    if data is None or problems:
        raise UserError(problems)
    dataset, splits = data
    task = attempt(lambda: checked_task(spec, len(dataset.classes)))
    problems.extend(_share_problems(spec, splits))
    model = attempt(lambda: initial_model(spec, dataset))
    asked = spec.finetune.teacher
    teacher = attempt(lambda: teacher_of(asked, dataset)) if asked is not None else model
    traced = attempt(lambda: trace(model, dataset.input_shape)) if model is not None else None
    if traced is not None:
        attempt(lambda: check_training(model, dataset.input_shape, "model"))
        if spec.finetune.feature_layers and teacher is not None:
            attempt(lambda: check_features(model, teacher, spec.finetune.feature_layers, dataset.input_shape))
        attempt(lambda: check_classes(model, len(dataset.classes), dataset.input_shape, "model"))
        if spec.fixed_point is not None and spec.fixed_point.merge_batch_norm:
            attempt(lambda: check_integers(model, dataset.input_shape))
    space = attempt(lambda: space_of(spec, traced.info)) if traced is not None else None
    if space is not None:
        attempt(lambda: check_counted(spec, space))
        attempt(lambda: check_plan_bits(spec, space))
        attempt(lambda: given_plans(spec.study.plans, space))
    if traced is None or space is None or problems:
        raise UserError(problems)
    return Prepared(spec, dataset, splits, traced, space, task)
