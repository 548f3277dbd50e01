"""The training loop: baseline, proxies and full fine-tunes all run this one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainers.data import LAYOUT, Normalizer, Slice, batches, batches_per_epoch, in_chunks
from trainers.device import evaluation_batch
from trainers.quantized import step_parameters
from trainers.seeds import derive, seeded

MOMENTUM = 0.9
GPU_CHECK_EVERY = 16  # steps; looking at a loss waits for the GPU


class Diverged(Exception):
    """The loss is no longer a number. `epoch` counts from 1."""

    def __init__(self, loss: float, epoch: int, step: int) -> None:
        super().__init__(f"loss became {loss} in step {step} of epoch {epoch}")
        self.loss, self.epoch, self.step = loss, epoch, step

    def __reduce__(self) -> tuple[type[Diverged], tuple[float, int, int]]:
        return type(self), (self.loss, self.epoch, self.step)


@dataclass(frozen=True)
class Settings:
    """How to train. `warmup_steps` of `steps` rise linearly to `lr`, the rest falls to 0 along a cosine."""

    lr: float
    steps: int
    batch_size: int
    warmup_steps: int = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    amp: bool = False
    distillation: float = 0.0
    temperature: float = 1.0

    def lr_at(self, step: int) -> float:
        """Learning rate of step `step`, which counts from 0."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))


def settings_of(section: Any, images: int, augment: Iterable[str]) -> Settings:
    """From a spec's `[baseline]` or `[finetune]` to steps over `images` training images."""
    per_epoch = batches_per_epoch(images, section.batch_size)
    return Settings(
        lr=section.lr,
        steps=section.epochs * per_epoch,
        batch_size=section.batch_size,
        warmup_steps=min(round(section.warmup_epochs * per_epoch), section.epochs * per_epoch),
        optimizer=section.optimizer,
        weight_decay=section.weight_decay,
        label_smoothing=section.label_smoothing,
        augment=tuple(augment),
        amp=section.amp,
        distillation=getattr(section, "distillation", 0.0),
        temperature=getattr(section, "temperature", 1.0),
    )


class Training:
    """A model on its way: with optimizer, loss scaler and finished epochs it is all that a checkpoint must hold."""

    def __init__(self, model: nn.Module, settings: Settings, device: torch.device) -> None:
        self.model = model.to(device, memory_format=LAYOUT)
        self.optimizer = make_optimizer(model, settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.amp and device.type == "cuda")
        self.epoch = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch = state["epoch"]


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Parameters that need gradients; no weight decay on steps, batch norm, biases and other vectors."""
    steps = {id(parameter) for parameter in step_parameters(model)}
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in learned if parameter.ndim > 1 and id(parameter) not in steps]
    inside = {id(parameter) for parameter in decayed}
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in learned if id(parameter) not in inside], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=MOMENTUM, nesterov=True)


def train(
    training: Training,
    view: Slice,
    normalize: Normalizer,
    settings: Settings,
    *,
    seed: int,
    teacher: nn.Module | None = None,
    rank: int = 0,
    world: int = 1,
    on_epoch: Callable[[float], None] | None = None,
) -> None:
    """Train from `training.epoch` on to the end of `settings.steps`; the last epoch may be cut short.

    `on_epoch` gets the mean loss after each epoch. Everything random follows from `seed` and the epoch. The caller
    wraps the model for several processes and gives each its `rank` of `world`. Raises `Diverged`.
    """
    model, device = training.model, normalize.device
    per_epoch = batches_per_epoch(len(view), settings.batch_size)
    check_every = 1 if device.type == "cpu" else GPU_CHECK_EVERY
    while (step := training.epoch * per_epoch) < settings.steps:
        model.train()
        total, count = torch.zeros((), device=device), min(per_epoch, settings.steps - step)
        epoch = batches(
            view, settings.batch_size, normalize,
            seed=seed, epoch=training.epoch, augment=settings.augment, rank=rank, world=world,
        )  # fmt: skip
        with seeded(derive(seed, "layers", training.epoch, rank)):
            for number, (images, labels) in zip(range(count), epoch, strict=False):
                for group in training.optimizer.param_groups:
                    group["lr"] = settings.lr_at(step + number)
                loss = _step(training, images, labels, settings, teacher)
                total += loss
                if (number + 1) % check_every == 0 or number + 1 == count:
                    # A sum with one part that is no number is none either.
                    if not math.isfinite(float(total)):
                        raise Diverged(float(loss), training.epoch + 1, number + 1)
        training.epoch += 1
        if on_epoch is not None:
            on_epoch(float(total) / count)


def _step(
    training: Training, images: Tensor, labels: Tensor, settings: Settings, teacher: nn.Module | None
) -> Tensor:
    training.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, torch.float16, enabled=training.scaler.is_enabled()):
        logits = training.model(images)
        teaching = None
        if teacher is not None and settings.distillation:
            with torch.no_grad():
                teaching = teacher(images)
        loss = loss_of(logits, labels, settings, teaching)
    training.scaler.scale(loss).backward()
    training.scaler.step(training.optimizer)
    training.scaler.update()
    return loss.detach()


def loss_of(logits: Tensor, labels: Tensor, settings: Settings, teaching: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits (B, classes), mixed with the teacher's soft targets at the share `distillation`.

    Hinton et al., Distilling the Knowledge in a Neural Network (2015), section 2: both softened by the temperature T,
    the term scaled by T^2 so that its gradients keep their size. `logits` and `teaching` may be half precision.
    """
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
    if teaching is None or not settings.distillation:
        return loss
    temperature = settings.temperature
    ours = functional.log_softmax(logits.float() / temperature, 1)
    theirs = functional.log_softmax(teaching.float() / temperature, 1)
    divergence = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2
    return (1 - settings.distillation) * loss + settings.distillation * divergence


def evaluate_accuracy(model: nn.Module, view: Slice, normalize: Normalizer) -> tuple[NDArray[np.bool_], float]:
    """Whether each image (N,) is classified rightly, and the mean cross-entropy. The model ends in eval mode."""
    model = model.to(normalize.device, memory_format=LAYOUT).eval()
    correct, total = [], 0.0
    with torch.inference_mode():
        for images, labels in in_chunks(view, evaluation_batch(view.images.shape[1:])):
            logits = model(normalize(images)).float()
            labels = labels.to(normalize.device)
            correct.append((logits.argmax(1) == labels).cpu().numpy())
            total += float(functional.cross_entropy(logits, labels, reduction="sum"))
    return np.concatenate(correct), total / len(view)
