"""What is learned and what counts: cross-entropy and the share of right answers, or functions of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pqsearch.errors import UserError
from pqsearch.own import load_own
from pqsearch.plan import Accuracy
from pqsearch.spec import Spec
from pqsearch.spec_network import TaskSpec
from trainers.seeds import derive, seeded

#: Images that a user's functions are tried on, and one alone, as the last batch of a slice may be.
TRIED = (6, 1)
#: A loss that gives so nearly twice as much of the same images twice is a sum.
SUM_TOLERANCE = 1e-3

#: Of outputs (batch, classes) in float32 and labels (batch,) or, where images are mixed, shares (batch, classes).
Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """`loss` gives the mean over a batch, `metric` a score in [0, 1] of each image; None is cross-entropy, and 1 where right."""

    loss: Function | None = None
    metric: Function | None = None

    def train_loss(self, outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean over a batch, for training."""
        if self.loss is not None:
            return _asked(self.loss, "loss", outputs, labels)
        return functional.cross_entropy(outputs.float(), labels, label_smoothing=label_smoothing)

    def total_loss(self, outputs: Tensor, labels: Tensor) -> float:
        """The loss of a batch times its images."""
        if self.loss is not None:
            return float(_asked(self.loss, "loss", outputs, labels)) * len(labels)
        return float(functional.cross_entropy(outputs.float(), labels, reduction="sum"))

    def scores(self, outputs: Tensor, labels: Tensor) -> NDArray[Any]:
        """Of each image (batch,): booleans, or with a metric of the user's float64 in [0, 1]; 0 where an output is no number.

        Raises `UserError` where the metric gives anything else.
        """
        if self.metric is None:
            return (outputs.argmax(1) == labels).cpu().numpy()
        found = _asked(self.metric, "metric", outputs, labels)
        if problem := _metric_problem(found, len(labels)):
            raise UserError(f"task.metric: {problem}")
        values = found.detach().cpu().to(torch.float64)
        # A network that diverged has no score; that is no fault of the metric.
        values[~outputs.isfinite().all(1).cpu()] = 0.0
        if problem := _range_problem(values):
            raise UserError(f"task.metric: {problem}")
        return values.numpy()


def _asked(function: Function, key: str, outputs: Tensor, labels: Tensor) -> Tensor:
    """What a user's function makes of a batch. Raises `UserError` where it fails on this one: not all can be tried before."""
    try:
        return function(outputs.float(), labels)
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise  # too much memory is the plan's fault
    except Exception as error:
        raise UserError(f"task.{key}: {_failure(error, outputs, labels)}; mend it") from error


def _failure(error: Exception, outputs: Tensor, labels: Tensor) -> str:
    reason = " ".join(str(error).split())
    shapes = f"outputs {tuple(outputs.shape)} and labels {tuple(labels.shape)}"
    return f"fails on {shapes}: {type(error).__name__}: {reason}"


#: What is done unless a user brings something else.
CLASSIFY = Task()


def accuracy_of(scores: NDArray[Any]) -> Accuracy:
    """The mean of scores (images,), which are booleans or in [0, 1], with what its standard error needs."""
    deviation = None if scores.dtype == np.bool_ else float(scores.std())
    return Accuracy(float(scores.mean()), len(scores), deviation)


def task_of(spec: TaskSpec) -> Task:
    """The functions that `[task]` names. Raises `UserError` where there are none of these names."""
    found: dict[str, Function | None] = {}
    problems: list[str] = []
    for key in ("loss", "metric"):
        name, options = getattr(spec, key), getattr(spec, f"{key}_options")
        try:
            function = None if name is None else load_own(name, spec.folder, f"task.{key}")
            found[key] = partial(function, **options) if function is not None and options else function
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return Task(**found)


def checked_task(spec: Spec, classes: int) -> Task:
    """`task_of`, tried on made-up outputs for so many classes. Raises `UserError` with all that is wrong."""
    task = task_of(spec.task)
    mixes = [key for key in ("baseline", "finetune") if getattr(spec, key).mixup or getattr(spec, key).cutmix]
    problems: list[str] = []
    with seeded(derive("task", spec.study.seed)):
        if task.loss is not None and (problem := _tried_loss(task.loss, classes)):
            problems.append(f"task.loss: {spec.task.loss} {problem}")
        elif task.loss is not None and mixes and (problem := _tried_shares(task.loss, classes)):
            problems.append(
                f"{mixes[0]}.mixup: makes shares (images, classes) of labels, and {spec.task.loss} {problem}; set mixup "
                "and cutmix to 0"
            )
        if task.metric is not None and (problem := _tried_metric(task.metric, classes)):
            problems.append(f"task.metric: {spec.task.metric} {problem}")
    if problems:
        raise UserError(problems)
    return task


def _made_up(images: int, classes: int) -> tuple[Tensor, Tensor]:
    return torch.randn(images, classes, requires_grad=True), torch.arange(images) % classes


def _called(function: Function, outputs: Tensor, labels: Tensor) -> Tensor | str:
    try:
        return function(outputs, labels)
    except Exception as error:
        return _failure(error, outputs, labels)


def _tried_loss(loss: Function, classes: int) -> str | None:
    for images in TRIED:
        outputs, labels = _made_up(images, classes)
        if problem := _loss_problem(_called(loss, outputs, labels), outputs):
            return problem
    outputs, labels = _made_up(TRIED[0], classes)
    once = _called(loss, outputs, labels)
    twice = _called(loss, torch.cat([outputs, outputs]), torch.cat([labels, labels]))
    if not isinstance(once, Tensor) or not isinstance(twice, Tensor):
        return str(twice)
    one, two = float(once.detach()), float(twice.detach())
    if one and abs(two / one - 2) < SUM_TOLERANCE:
        return (
            f"must be a mean over the batch, but the same images twice give {two:.4g} instead of {one:.4g}; "
            "divide by their number"
        )
    return None


def _tried_shares(loss: Function, classes: int) -> str | None:
    outputs, _ = _made_up(TRIED[0], classes)
    return _loss_problem(_called(loss, outputs, torch.rand(TRIED[0], classes).softmax(1)), outputs)


def _loss_problem(found: Tensor | str, outputs: Tensor) -> str | None:
    if isinstance(found, str):
        return found
    if not isinstance(found, Tensor) or found.ndim:
        return f"must return a tensor of one number, the mean over the batch, got {_kind(found)}"
    if not torch.isfinite(found):
        return f"must be finite, got {float(found.detach())}"
    gradient = None
    if found.requires_grad:
        (gradient,) = torch.autograd.grad(found, outputs, allow_unused=True)
    if gradient is None:
        return "cannot be differentiated: no gradient goes from it to the outputs; use operations that autograd follows"
    if not torch.isfinite(gradient).all():
        return "must have finite gradients, got some that are not"
    return None


def _tried_metric(metric: Function, classes: int) -> str | None:
    for images in TRIED:
        outputs, labels = _made_up(images, classes)
        with torch.inference_mode():
            found = _called(metric, outputs.detach(), labels)
        problem = found if isinstance(found, str) else _metric_problem(found, images) or _range_problem(found)
        if problem:
            return problem
    return None


def _metric_problem(found: Any, images: int) -> str | None:
    if not isinstance(found, Tensor) or tuple(found.shape) != (images,):
        return f"must return a tensor with the score of each image, of shape ({images},) here, got {_kind(found)}"
    return None


def _range_problem(found: Tensor) -> str | None:
    wrong = ~((found >= 0) & (found <= 1))  # what is no number is in no range
    if bool(wrong.any()):
        return f"must score images in [0, 1], got {float(found[wrong][0]):.4g}; scale it"
    return None


def _kind(found: Any) -> str:
    return f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
