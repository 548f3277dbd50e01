"""The float network: trained from scratch, or adapted from the weights a spec names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pqsearch.errors import UserError
from pqsearch.spec import Spec
from pqsearch.spec_network import TrainSpec
from trainers import files
from trainers.build import load_weights, network
from trainers.data import Loader, Splits
from trainers.datasets._types import Dataset
from trainers.distributed import ALONE, World
from trainers.loop import Diverged, Recipe, Trainer, evaluate
from trainers.seeds import derive, seeded
from trainers.task import accuracy_of, task_of
from trainers.under_way import told

#: In the run directory, until the baseline is trained.
CHECKPOINT = "baseline-checkpoint.pth"


class TrainingDiverged(UserError):
    """The loss became infinite or not a number, in all processes at once."""


#: Sections that train.
Key = Literal["baseline", "finetune", "fixed_point"]


def initial_model(spec: Spec, dataset: Dataset, *, weights: bool = True) -> nn.Module:
    """The network before training: the spec's weights, or without them an initialisation that depends on the seed alone."""
    with seeded(derive("initialisation", spec.study.seed)):
        return network(spec.model, len(dataset.classes), dataset.input_shape, weights=weights)


def train_baseline(
    spec: Spec,
    dataset: Dataset,
    splits: Splits,
    folder: Path,
    device: torch.device,
    progress: Callable[[dict[str, Any]], None] = lambda state: None,
    world: World = ALONE,
) -> nn.Module:
    """Train and write `baseline.pth`; a checkpoint after each epoch makes an interrupted run go on exactly.

    Finished weights in `folder` are read, not trained again. `progress` gets done and total (epochs), loss of
    training, accuracy and images of the select slice; of several processes the first is told, and writes. Raises `TrainingDiverged`,
    and `UserError` when there is nothing to start from.
    """
    settings = spec.baseline
    if not settings.epochs and not spec.model.weights:
        raise UserError("baseline.epochs: must be at least 1 without model.weights, got 0; train, or name a state dict")
    model = initial_model(spec, dataset).to(device).to(memory_format=torch.channels_last)
    finished = folder / "baseline.pth"
    if world.agreed(finished.is_file):
        load_weights(model, finished)
        return model
    made = model
    if settings.epochs:
        loader, select = Loader(dataset, splits.train, device), Loader(dataset, splits.select, device)
        task = task_of(spec.task)
        how = recipe(settings, loader, seed=derive("baseline", spec.study.seed), task=task)
        trainer = Trainer(model, how, device, world=world)
        checkpoint = folder / CHECKPOINT
        epoch: int = resume(trainer, checkpoint, world)["epoch"]
        reached: dict[str, Any] = {}

        def tell(share: float = 0) -> None:
            if world.first:
                progress({"done": epoch + share, "total": settings.epochs, **reached})

        tell()
        while epoch < settings.epochs:
            loss = one_epoch(trainer, loader, spec, settings, "baseline", "the baseline", epoch, tell)
            epoch += 1
            if world.first:
                files.save({**trainer.state(), "epoch": epoch}, checkpoint)
            found = accuracy_of(evaluate(trainer.result, select, task, world)[0])
            reached = {"loss": loss, "accuracy": found.value, "images": found.images, "deviation": found.deviation}
            tell()
        made = trainer.result
    if world.first:
        files.save(plain(made), finished)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return made


def recipe(settings: TrainSpec, loader: Loader, **more: Any) -> Recipe:
    """A spec's training section as steps over one loader."""
    an_epoch = loader.batches_an_epoch(settings.batch_size)
    return Recipe(
        steps=settings.epochs * an_epoch,
        lr=settings.lr,
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_epochs * an_epoch,
        schedule=settings.schedule,
        milestones=tuple(settings.milestones),
        label_smoothing=settings.label_smoothing,
        mixup=settings.mixup,
        cutmix=settings.cutmix,
        ema=settings.ema,
        clip=settings.clip,
        amp=settings.amp,
        compiled=settings.compile,
        classes=loader.classes,
        synchronised_norms=settings.sync_batch_norm,
        batch=min(settings.batch_size, len(loader)),
        **more,
    )


def one_epoch(
    trainer: Trainer,
    loader: Loader,
    spec: Spec,
    settings: TrainSpec,
    key: Key,
    whose: str,
    epoch: int,
    tell: Callable[[float], None],
) -> float:
    """Train as `settings`, of the section `key`, say for the epoch after `epoch` others; returns the mean loss.

    The same order of images for everybody whom the section trains, so that plans differ and not their luck. `tell` hears now and
    then which share of the epoch is done. Raises `TrainingDiverged`, which tells of the training `whose`.
    """
    augment = tuple(spec.data.augment)
    batches = loader.epoch(settings.batch_size, augment, key, spec.study.seed, epoch, share=trainer.share)
    try:
        return trainer.run(told(batches, loader.batches_an_epoch(settings.batch_size), tell))
    except Diverged as error:
        raise TrainingDiverged(
            f"{key}.lr: {error} of {whose} (epoch {epoch + 1}), got {settings.lr:g}; lower it"
        ) from None


def resume(trainer: Trainer, checkpoint: Path, world: World = ALONE) -> dict[str, Any]:
    """Restore a trainer from a checkpoint if there is one, which the first of several processes reads for all.

    Returns what stands in it, of which `epoch` (epochs done) is always there.
    """
    state = world.agreed(lambda: files.load(checkpoint) if checkpoint.is_file() else {"epoch": 0})
    if state["epoch"]:
        trainer.restore(state)
    return state


def plain(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict on the CPU in the ordinary memory layout."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
