"""The stage behind the export: the winner once more in dynamic fixed point, tested, and its integers written down. No Ray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pqsearch.errors import UserError
from pqsearch.plan_file import read_recipe
from pqsearch.prepare import Prepared
from pqsearch.rebuild import module_of
from pqsearch.run_dir import RunDirectory
from pqsearch.spec_network import FixedPointSpec
from trainers import files
from trainers.baseline import recipe
from trainers.compress import reestimate_norms
from trainers.data import Loader
from trainers.device import evaluation_batch, pick
from trainers.fixed_point import integer_files
from trainers.fixed_point.ahead import WAY_OUT
from trainers.fixed_point.convert import calibrate, fixed_point
from trainers.fixed_point.integer import IntegerNetwork, integer_layers
from trainers.fixed_point.values import NoIntegerForm
from trainers.full import select_and_test
from trainers.loop import Trainer
from trainers.measure import measure
from trainers.selecting import train_and_select

#: What is done one after the other, beside the training that may come after the first.
PARTS = ("grids", "test", "integers")
#: Images on which the integers are held against the network in float64.
COMPARED = 16


@dataclass(frozen=True)
class FixedPointPaths:
    """What the stage leaves in a run directory."""

    folder: Path

    @classmethod
    def of(cls, run: RunDirectory) -> FixedPointPaths:
        return cls(run.path / "fixed_point")

    @property
    def weights(self) -> Path:
        return self.folder / "model.pth"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def correct(self) -> Path:
        return self.folder / "correct.npy"

    @property
    def integers(self) -> list[Path]:
        return [self.folder / name for name in (integer_files.JSON, integer_files.ARRAYS, integer_files.HEADER)]

    def checkpoint(self, of: dict[str, Any]) -> Path:
        """Of a training of this plan with these settings; another one begins anew."""
        digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"{digest}-checkpoint.pth"

    def checkpoints(self) -> list[Path]:
        return list(self.folder.glob("*-checkpoint.pth"))


class InDouble(nn.Module):
    """A network in float64, where every value of a grid is exact, for images and answers in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(images.double())
        return found.float()


def is_made(run: RunDirectory, settings: FixedPointSpec) -> bool:
    """Whether the stage is done for the plan and the settings as they are."""
    found = run.read(FixedPointPaths.of(run).result)
    return found is not None and found["of"] == _of(run, settings)


def _of(run: RunDirectory, settings: FixedPointSpec) -> dict[str, Any]:
    plan, _ = read_recipe(run.plan)
    return {"plan_hash": plan.hash, "settings": settings.model_dump()}


def make(
    prepared: Prepared,
    run: RunDirectory,
    settings: FixedPointSpec,
    progress: Callable[[dict[str, Any]], None] = lambda state: None,
) -> dict[str, Any]:
    """Convert the exported winner, train it where that is asked for, test it, write its weights, and its integers where batch norm is
    merged. `progress` hears of each part that begins, and of epochs.

    Returns the content of `fixed_point/result.json`. Raises `UserError` where the forward pass does what integers cannot.
    """
    spec, dataset, shape = prepared.spec, prepared.dataset, prepared.dataset.input_shape
    paths, device = FixedPointPaths.of(run), pick(spec.workers.gpus)
    for path in (paths.result, *paths.integers):
        run.remove(path)  # what says that the stage is done must not stand beside half of another one
    plan, data = read_recipe(run.plan)
    network = fixed_point(module_of(plan, data, run.model), shape, settings, plan.layers).to(device)
    train = Loader(dataset, prepared.splits.train, device)
    images, labels = train.sample(settings.images, "calibration", 0)

    def loss(one: nn.Module) -> float:
        with torch.no_grad():
            parts = zip(images.split(batch), labels.split(batch), strict=True)
            return sum(prepared.task.total_loss(one(image), label) for image, label in parts) / len(images)

    batch = evaluation_batch(shape, device)
    progress({"done": 0, "total": len(PARTS), "unit": PARTS[0]})
    try:
        calibrate(network, images, loss if settings.criterion == "loss" else None, settings.correct_bias)
    except FloatingPointError as error:
        raise UserError(f"fixed_point: {run.model}: {error}; mend the training that it is from") from error
    if not settings.merge_batch_norm:
        # Rounding has moved what norms normalise.
        number = max(settings.images, spec.calibration_images)
        reestimate_norms(network, train.parts(number, "calibration", 0, augment=tuple(spec.data.augment)))
    paths.folder.mkdir(exist_ok=True)
    if settings.epochs:
        _train(prepared, network, train, settings, device, paths.checkpoint(_of(run, settings)), progress)
    progress({"done": 1, "total": len(PARTS), "unit": PARTS[1]})
    found = {
        **select_and_test(InDouble(network), dataset, prepared.splits, device, paths.correct, prepared.task),
        "measured": measure(network.float().cpu(), shape),
    }
    files.save({name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}, paths.weights)
    if settings.merge_batch_norm:
        progress({"done": 2, "total": len(PARTS), "unit": PARTS[2]})
        found["integer"] = _write(network, run, data, images[:COMPARED].cpu())
    result = {"of": _of(run, settings), **found}
    run.write(paths.result, result)
    for checkpoint in paths.checkpoints():
        checkpoint.unlink()
    progress({"done": len(PARTS), "total": len(PARTS), "unit": "parts"})
    return result


def _train(
    prepared: Prepared,
    network: nn.Module,
    train: Loader,
    settings: FixedPointSpec,
    device: torch.device,
    checkpoint: Path,
    progress: Callable[[dict[str, Any]], None],
) -> None:
    """As the full fine-tune, on grids that stay where they are."""
    spec = prepared.spec
    training = spec.finetune.model_copy(update={"epochs": settings.epochs, "lr": settings.lr})
    network.requires_grad_(True)
    trainer = Trainer(network, recipe(training, train, seed=spec.study.seed, task=prepared.task), device)
    select = Loader(prepared.dataset, prepared.splits.select, device)
    train_and_select(
        trainer, network, train, select, spec, training, "fixed_point", "the winner", checkpoint, prepared.task, progress
    )  # fmt: skip
    network.requires_grad_(False)


def _write(network: nn.Module, run: RunDirectory, data: dict[str, Any], images: Tensor) -> dict[str, Any]:
    """The files, read again and held against the network."""
    exact = network.double()
    layers = integer_layers(exact)
    more = {"model": data["model"], "normalization": data["normalization"]}
    folder = FixedPointPaths.of(run).folder
    try:
        integer_files.write(IntegerNetwork(exact, layers), folder, tuple(images.shape[1:]), more)
        same = torch.equal(IntegerNetwork(exact, integer_files.read(folder))(images), exact(images.double()))
    except NoIntegerForm as error:
        raise UserError(f"fixed_point: {error}; {WAY_OUT}") from error
    if not same:
        raise AssertionError("the integers compute something else than the network that they are from")
    bits = {name: layer.accumulator_bits for name, layer in layers.items()}
    widest = max(bits, key=bits.__getitem__)
    return {"layers": len(layers), "accumulator_bits": bits[widest], "widest": widest, "compared": len(images)}


def load_fixed_point(run_dir: str | Path) -> nn.Module:
    """The winner of a finished run in dynamic fixed point, with its weights and grids, in eval mode and in float64.

    Inputs are images of shape (batch, channels, height, width), normalised as `plan.json` says. Raises `UserError` where the run has
    none, or one of an earlier plan.
    """
    run = RunDirectory.existing(run_dir)
    paths = FixedPointPaths.of(run)
    found = run.read(paths.result)
    if found is None or not paths.weights.is_file():
        raise UserError(
            f"{run_dir}: has no fixed_point/; put [fixed_point] into the spec, and `pqsearch fixed-point` makes it"
        )
    plan, data = read_recipe(run.plan)
    if found["of"]["plan_hash"] != plan.hash:
        raise UserError(
            f"{run_dir}: fixed_point/ is of an earlier plan than plan.json; `pqsearch fixed-point SPEC` makes it anew"
        )
    model = module_of(plan, data, run.model)
    settings = FixedPointSpec(**found["of"]["settings"])
    network = fixed_point(model, tuple(data["model"]["input_shape"]), settings, plan.layers)
    network.load_state_dict(files.load(paths.weights))
    return network.double().eval()


def load_integers(run_dir: str | Path) -> IntegerNetwork:
    """The same in integers, from `fixed_point/integers.json` and `integers.npz`: its answers are those of `load_fixed_point`, to the
    last bit. Raises `UserError` where the run has none.
    """
    network = load_fixed_point(run_dir)
    run = RunDirectory.existing(run_dir)
    paths = FixedPointPaths.of(run)
    if not run.read(paths.result)["of"]["settings"]["merge_batch_norm"]:
        raise UserError(
            f"{run_dir}: has no integers, fixed_point/ was made with merge_batch_norm = false; make it with true, or take "
            "`pqsearch.load_fixed_point`"
        )
    return IntegerNetwork(network, integer_files.read(paths.folder))
