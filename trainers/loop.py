"""The training loop, on one page: baseline, proxy and full fine-tune all use it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainers.data import Loader
from trainers.device import mixed_precision
from trainers.distributed import ALONE, World
from trainers.features import Features
from trainers.mixing import mixer
from trainers.quantized import quantizers, step_parameters
from trainers.schedules import schedule
from trainers.seeds import derive, seeded
from trainers.task import CLASSIFY, Task

#: How many first answers count as well where results are reported.
TOP = 5
#: Step sizes are small numbers beside weights: at the full learning rate a short fine-tune drives some of them to zero,
#: and with them their channels, for good.
STEP_SHARE = 0.1
#: What one update leaves of a step at least, as a share of it. Where many values are clipped the gradient of a step is so large
#: that even so a few updates take it past zero, where all values are quantised to the same and hardly anything leads back.
#: To stay above zero is not enough: with a tenth left, most networks that this kills die all the same.
STEP_LEFT = 0.5
#: What a whole training leaves of it. Halved by one update after the other a step would come to be zero after all, and what is cut off
#: at so small a step says no more where it ought to be.
STEP_FLOOR = 1 / 16


class Diverged(FloatingPointError):
    """The loss became infinite or not a number."""


@dataclass(frozen=True)
class Recipe:
    """How to train. `steps` is the whole length, over which the learning rate rises and falls.

    `milestones` are shares of it. `mixup` and `cutmix` are the parameters of their Beta distributions, `ema` how much of the
    averaged weights a step keeps, `clip` the longest gradient; 0 is none of it. `step_share` is the quantiser steps' part of the
    learning rate. `feature_layers` are patterns (`trainers.features`). `classes` is needed for mixing. `task` is what is learned.
    `seed` is for layers that draw numbers themselves, such as dropout, and for mixing. `frozen_norms` leaves the statistics of
    batch norm as they are; `synchronised_norms` takes them over all processes, and `batch` is how many images a step sees in all
    of these.
    """

    steps: int
    lr: float
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    warmup_steps: float = 0
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    label_smoothing: float = 0.0
    distillation: float = 0.0
    temperature: float = 2.0
    feature_distillation: float = 0.0
    feature_layers: tuple[str, ...] = ()
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    clip: float = 0.0
    step_share: float = STEP_SHARE
    amp: bool = True
    compiled: bool = False
    classes: int = 0
    seed: int = 0
    task: Task = CLASSIFY
    frozen_norms: bool = False
    synchronised_norms: bool = False
    batch: int = 0


class Trainer:
    """A model in training. Its state goes to a checkpoint and back, so that a resumed run is the unbroken one."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        device: torch.device,
        teacher: nn.Module | None = None,
        world: World = ALONE,
    ) -> None:
        model = world.synchronised(model) if recipe.synchronised_norms else model
        self.model, self.recipe, self.device, self.world = model, recipe, device, world
        self.teacher = teacher.eval() if teacher is not None else None
        self._features: Features | None = None
        if teacher is not None and recipe.feature_distillation:
            self._features = Features(model, teacher, recipe.feature_layers)
        self._steps = [grid.step for _, grid in quantizers(model) if isinstance(grid.step, nn.Parameter)]
        self._floors = [STEP_FLOOR * step.detach() for step in self._steps]
        groups = parameter_groups(model, recipe.weight_decay, recipe.step_share)
        if recipe.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
        else:
            self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
        self.mixed = mixed_precision(device) if recipe.amp else None
        # Only float16 has too short an exponent for small gradients.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.mixed is torch.float16)
        forward = world.wrapped(model, device)
        self._forward = torch.compile(forward) if recipe.compiled else forward
        self._average: AveragedModel | None = None
        if recipe.ema:
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
        self._mix = mixer(recipe.mixup, recipe.cutmix, recipe.classes)
        self.step = 0

    @property
    def result(self) -> nn.Module:
        """What the training has made so far: the averaged weights where there are any."""
        return self.model if self._average is None else self._average.module

    def share(self, count: int) -> NDArray[np.int64]:
        """Positions of the images of a batch of `count` that this process needs. Mixing pairs each with the one before it."""
        return self.world.share(count, before=self._mix is not None and self.world.size > 1)

    def run(self, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Train on batches, of several processes each on its shares of them; returns the mean loss over all. Raises `Diverged`."""
        with seeded(derive(self.recipe.seed, self.step)):
            return self._run(batches)

    def _run(self, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        self.model.train()
        if self.recipe.frozen_norms:
            for part in self.model.modules():
                if isinstance(part, _BatchNorm):
                    part.eval()
        total, count = torch.zeros((), device=self.device), 0
        for images, labels in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr * group["share"] * schedule(self.step, self.recipe)
            images, labels = self._mixed(images, labels)
            self.optimizer.zero_grad(set_to_none=True)  # before the forward, which then has their memory
            autocast = torch.autocast(self.device.type, dtype=self.mixed, enabled=self.mixed is not None)
            with self.world.own_draws(self.recipe.seed, self.step), autocast:
                loss = self._loss(self._forward(images), images, labels)
            if self.world.size > 1:
                loss = loss * self.world.weight(len(labels), self.recipe.batch)
            self.scaler.scale(loss).backward()
            self._update()
            self.step += 1
            total, count = total + loss.detach(), count + 1
            # Waiting for a GPU, or for other processes, at every step would cost more than finding out a little later.
            if self.device.type == "cpu" and self.world.size == 1 and not torch.isfinite(loss):
                raise Diverged(f"the loss became {float(loss.detach())} in step {self.step}")
        mean = float(self.world.mean(total)) / max(1, count)
        if not math.isfinite(mean):
            raise Diverged(f"the loss became {mean} by step {self.step}")
        # Frozen ones are alike in all processes, and so are those that are taken over all of them.
        if not (self.recipe.frozen_norms or self.recipe.synchronised_norms):
            self.world.unite_norms(self.model, *([] if self._average is None else [self._average]))
        return mean

    def _update(self) -> None:
        least = [
            (STEP_LEFT * step.detach()).maximum(floor) for step, floor in zip(self._steps, self._floors, strict=True)
        ]
        if self.recipe.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            for step, bound in zip(self._steps, least, strict=True):
                step.clamp_(min=bound)
        if self._average is not None:
            self._average.update_parameters(self.model)

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of batches of two images and more, where the recipe says so: labels are then shares (images, classes)."""
        if self._mix is None or len(labels) < 2:
            return images, labels
        images, labels = self._mix(images, labels)
        if self.world.size > 1:
            images, labels = images[1:], labels[1:]  # the one ahead was there to be mixed into the first of ours
        return images.contiguous(memory_format=torch.channels_last), labels

    def _loss(self, outputs: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        recipe = self.recipe
        loss = recipe.task.train_loss(outputs, labels, recipe.label_smoothing)
        if self.teacher is None or not (recipe.distillation or self._features):
            return loss
        with torch.no_grad():
            wanted = self.teacher(images)
        if recipe.distillation:
            divergence = distillation_loss(outputs, wanted, recipe.temperature)
            loss = (1 - recipe.distillation) * loss + recipe.distillation * divergence
        return loss if self._features is None else loss + recipe.feature_distillation * self._features.loss()

    def state(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "floors": self._floors,
            **({} if self._average is None else {"average": self._average.state_dict()}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self._floors = [floor.to(self.device) for floor in state["floors"]]
        if self._average is not None:
            self._average.load_state_dict(state["average"])


def distillation_loss(outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence from the teacher's softened outputs, scaled by T^2 (Hinton et al., 2015)."""
    student = functional.log_softmax(outputs.float() / temperature, dim=1)
    wanted = functional.log_softmax(teacher.float() / temperature, dim=1)
    return functional.kl_div(student, wanted, log_target=True, reduction="batchmean") * temperature**2


def parameter_groups(model: nn.Module, weight_decay: float, step_share: float = STEP_SHARE) -> list[dict[str, Any]]:
    """Weights decay; batch norm, biases and quantiser steps do not. `share` is a group's part of the learning rate."""
    ids = {id(parameter) for parameter in step_parameters(model)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    steps = [parameter for parameter in trained if id(parameter) in ids]
    free = [parameter for parameter in trained if parameter.ndim < 2 and id(parameter) not in ids]
    decayed = [parameter for parameter in trained if parameter.ndim >= 2 and id(parameter) not in ids]
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "share": 1.0},
        {"params": free, "weight_decay": 0.0, "share": 1.0},
        {"params": steps, "weight_decay": 0.0, "share": step_share},
    ]
    return [group for group in groups if group["params"]]


@dataclass(frozen=True)
class Evaluated:
    """Of each image (count,): its score by the task, and whether its class is among the first `TOP`; and the mean loss.

    Scores are booleans, whether the class comes first, or with a metric of the user's float64 in [0, 1].
    """

    scores: NDArray[Any]
    among: NDArray[np.bool_]
    loss: float


@torch.inference_mode()
def evaluate_all(model: nn.Module, loader: Loader, task: Task = CLASSIFY, world: World = ALONE) -> Evaluated:
    """A model on all images of a loader, in order. Several processes take turns by whole batches: the figures are those of one.

    Raises `UserError` where a metric of the user's gives no scores in [0, 1].
    """
    model.eval()
    own = []
    for turn, (images, labels) in enumerate(loader.plain(world.rank, world.size)):
        outputs = model(images)
        first = outputs.topk(min(TOP, outputs.shape[1])).indices
        among = (first == labels[:, None]).any(1).cpu().numpy()
        scores, loss = task.scores(outputs, labels), task.total_loss(outputs, labels)
        own.append((turn * world.size + world.rank, scores, among, loss))
    _, scored, amongs, losses = zip(*sorted(world.gathered(own), key=itemgetter(0)), strict=True)
    return Evaluated(np.concatenate(scored), np.concatenate(amongs), sum(losses) / len(loader))


def evaluate(
    model: nn.Module, loader: Loader, task: Task = CLASSIFY, world: World = ALONE
) -> tuple[NDArray[Any], float]:
    """The score of each image (count,), and the mean loss, as `evaluate_all` has them."""
    found = evaluate_all(model, loader, task, world)
    return found.scores, found.loss
