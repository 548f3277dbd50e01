"""Training epoch by epoch: the weights that the selecting slice likes best are kept; killed, it goes on where its last epoch ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pqsearch.plan import Accuracy
from pqsearch.spec import Spec
from pqsearch.spec_network import TrainSpec
from trainers import files
from trainers.baseline import Key, one_epoch, plain, resume
from trainers.data import Loader
from trainers.distributed import ALONE, World
from trainers.loop import Trainer, evaluate
from trainers.quantized import quantizers
from trainers.task import Task, accuracy_of


class Best:
    """The weights that the select slice liked best: by accuracy, then by loss; the earlier epoch in a tie."""

    def __init__(
        self,
        accuracy: float = -1.0,
        loss: float = 0.0,
        epoch: int = 0,
        weights: dict[str, torch.Tensor] | None = None,
        deviation: float | None = None,
    ) -> None:
        self.accuracy, self.loss, self.epoch, self.deviation = accuracy, loss, epoch, deviation
        self.weights: dict[str, torch.Tensor] = weights or {}

    def reached(self, images: int) -> dict[str, Any]:
        """For showing."""
        return {"accuracy": self.accuracy, "images": images, "deviation": self.deviation}

    def of(self, images: int) -> Accuracy:
        """On so many images of the slice."""
        return Accuracy(self.accuracy, images, self.deviation)

    def offer(self, model: nn.Module, select: Loader, epoch: int, task: Task, world: World) -> None:
        scores, loss = evaluate(model, select, task, world)
        found = accuracy_of(scores)
        if (found.value, -loss) > (self.accuracy, -self.loss):
            self.accuracy, self.loss, self.epoch, self.deviation = found.value, loss, epoch, found.deviation
            self.weights = {name: tensor.clone() for name, tensor in plain(model).items()}


@dataclass(frozen=True)
class Trained:
    """The best epoch, the seconds that all took, and the quantisers' steps before the first and after each."""

    best: Best
    seconds: float
    steps: list[dict[str, float]]


def train_and_select(
    trainer: Trainer,
    model: nn.Module,
    train: Loader,
    select: Loader,
    spec: Spec,
    settings: TrainSpec,
    key: Key,
    role: str,
    checkpoint: Path,
    task: Task,
    progress: Callable[[dict[str, Any]], None] = lambda state: None,
    world: World = ALONE,
) -> Trained:
    """Train the `model` of a `trainer` as `settings` of the section `key` say, and give it the weights of the best epoch.

    Of several processes the first writes `checkpoint` and tells `progress`. Raises `TrainingDiverged`, which tells of `role`.
    """
    best, seconds, steps = Best(), 0.0, [mean_steps(model)]
    state = resume(trainer, checkpoint, world)
    epoch = state["epoch"]
    if epoch:
        best, seconds, steps = Best(**state["best"]), state["seconds"], state["steps"]
    else:
        # Before the first epoch: what calibration alone gives may be the best there is.
        best.offer(model, select, 0, task, world)

    loss: float | None = None

    def tell(share: float = 0) -> None:
        if world.first:
            progress({"done": epoch + share, "total": settings.epochs, **best.reached(len(select)), "loss": loss})

    tell()
    while epoch < settings.epochs:
        began = time.monotonic()
        loss = one_epoch(trainer, train, spec, settings, key, role, epoch, tell)
        epoch += 1
        best.offer(trainer.result, select, epoch, task, world)
        seconds += time.monotonic() - began
        steps.append(mean_steps(model))
        if world.first:
            own = {"epoch": epoch, "best": best.__dict__, "seconds": seconds, "steps": steps}
            files.save({**trainer.state(), **own}, checkpoint)
        tell()
    model.load_state_dict(best.weights)
    return Trained(best, seconds, steps)


def mean_steps(model: nn.Module) -> dict[str, float]:
    """The step of every quantiser by its name, the mean of its channels."""
    return {name: float(grid.step.detach().mean()) for name, grid in quantizers(model)}
