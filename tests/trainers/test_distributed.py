"""Processes that share a training: what comes of it is what one process makes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pqsearch.plan import Plan
from pqsearch.spec_network import FinetuneSpec
from tests.trainers.gang import Gang, gang
from tests.trainers.small import CPU, PLAN, TRAINING, small_context, small_data, small_spec
from trainers import files, full, selecting
from trainers.baseline import TrainingDiverged, train_baseline
from trainers.data import Loader
from trainers.distributed import ALONE, World
from trainers.loop import Recipe, Trainer, evaluate_all
from trainers.proxy import calibrate, compressed
from trainers.seeds import seeded
from trainers.task import Task

#: What rounding makes of a weight, as `docs/training.md` states it; and where a value rounds to the other side of a grid.
TOLERANCE, ACROSS = 1e-5, 1e-2
#: In float32, and without what processes cannot have in common.
EXACT = {**TRAINING, "freeze_batch_norm": True, "amp": False}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gang]:
    with gang(2, tmp_path_factory.mktemp("gang")) as found:
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a float network that has learned something: from others a fine-tune may go anywhere."""
    spec, folder = small_spec(baseline={"epochs": 6}), tmp_path_factory.mktemp("trained")
    train_baseline(spec, *small_data(spec), folder, CPU)
    return folder / "baseline.pth"


class Killed(Exception):
    pass


def _finetune(
    folder: Path,
    plan: Plan | None,
    augment: tuple[str, ...],
    keys: dict[str, Any],
    shared: bool = True,
    kill_in: int | None = None,
) -> dict[str, Any] | None:
    """The result, which all processes have; None where all of them were cut off at the end of an epoch."""
    world = World.joined() if shared else ALONE
    (folder / "plan").mkdir(exist_ok=True)
    context = small_context(folder, small_spec(data={"augment": list(augment)}))
    settings = FinetuneSpec(**{**EXACT, **keys})
    offer = selecting.Best.offer

    def cut_off(best: Any, model: nn.Module, select: Loader, epoch: int, task: Task, world: World) -> None:
        if epoch == kill_in:
            raise Killed
        offer(best, model, select, epoch, task, world)

    def progress(state: dict[str, Any]) -> None:
        assert world.first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selecting.Best, "offer", cut_off)
        try:
            return full.finetune(context, "searched", plan, folder / "plan", settings, progress, world)
        except Killed:
            return None


def _place(folder: Path, trained: Path) -> Path:
    folder.mkdir()
    shutil.copy(trained, folder / "baseline.pth")
    return folder


def _apart(one: Path, other: Path) -> float:
    first, second = (files.load(folder / "plan" / "weights.pth") for folder in (one, other))
    return max(float((first[key] - second[key]).abs().max()) for key in first)


@pytest.mark.parametrize(
    ("plan", "augment", "keys"),
    [
        (None, ("crop", "flip", "erase", "trivial_augment"), {}),
        (None, ("crop",), {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}),
        (None, (), {"ema": 0.5, "clip": 0.5, "distillation": 0.5, "optimizer": "adamw", "lr": 0.005}),
        (None, (), {"feature_distillation": 10.0, "feature_layers": ["layer2.*"]}),
        (None, (), {"batch_size": 4000}),
        (PLAN, ("crop", "flip"), {}),
    ],
)
def test_two_processes_train_what_one_does(
    pair: Gang, trained: Path, tmp_path: Path, plan: Plan | None, augment: tuple[str, ...], keys: dict[str, Any]
) -> None:
    one, two = (_place(tmp_path / name, trained) for name in ("one", "two"))
    _finetune(one, plan, augment, keys, shared=False, kill_in=2)
    pair.call(_finetune, two, plan, augment, keys, True, 2)
    first, second = (files.load(folder / "plan" / "checkpoint.pth") for folder in (one, two))
    assert first["epoch"] == second["epoch"] == 1 and first["step"] == second["step"]
    for states in ("model", "average") if "ema" in keys else ("model",):
        apart = [float((first[states][name] - tensor).abs().max()) for name, tensor in second[states].items()]
        assert max(apart) < (TOLERANCE if plan is None else ACROSS)
    assert first["best"]["accuracy"] == second["best"]["accuracy"] or plan is not None


def test_what_one_process_began_two_go_on_with_and_the_other_way_round(
    pair: Gang, trained: Path, tmp_path: Path
) -> None:
    whole, more, fewer = (_place(tmp_path / name, trained) for name in ("whole", "more", "fewer"))
    keys = {"epochs": 3, "ema": 0.5}
    _finetune(whole, None, ("crop",), keys, shared=False)
    _finetune(more, None, ("crop",), keys, shared=False, kill_in=2)
    shared, other = pair.call(_finetune, more, None, ("crop",), keys)
    assert {**other, "seconds": 0} == {**shared, "seconds": 0}
    assert sorted(path.name for path in (more / "plan").iterdir()) == [
        "correct.npy", "result.json", "steps.json", "weights.pth",
    ]  # fmt: skip
    assert pair.call(_finetune, fewer, None, ("crop",), keys, True, 3) == [None, None]
    _finetune(fewer, None, ("crop",), keys, shared=False)
    assert _apart(whole, more) < TOLERANCE and _apart(whole, fewer) < TOLERANCE


def test_with_statistics_by_process_the_network_is_as_good_within_noise(
    pair: Gang, trained: Path, tmp_path: Path
) -> None:
    one, two = (_place(tmp_path / name, trained) for name in ("one", "two"))
    keys = {"freeze_batch_norm": False, "epochs": 4, "amp": True}
    alone = _finetune(one, None, ("crop",), keys, shared=False)
    shared, _ = pair.call(_finetune, two, None, ("crop",), keys)
    assert alone is not None
    errors = (alone["test_standard_error"] ** 2 + shared["test_standard_error"] ** 2) ** 0.5
    assert abs(alone["test_accuracy"] - shared["test_accuracy"]) < 3 * errors
    norms = [name for name in files.load(two / "plan" / "weights.pth") if name.endswith("running_mean")]
    before, after = files.load(trained), files.load(two / "plan" / "weights.pth")
    assert norms and not any(torch.equal(before[name], after[name]) for name in norms)


def test_frozen_statistics_stay_and_scales_are_trained(trained: Path, tmp_path: Path) -> None:
    folder = _place(tmp_path / "one", trained)
    _finetune(folder, None, (), {"epochs": 1}, shared=False)
    spec = small_spec(data={"augment": []})
    context, after = small_context(folder, spec), files.load(folder / "plan" / "weights.pth")
    calibrated = compressed(context, Plan())
    calibrate(context, calibrated, context.spec.calibration_images)
    for name, tensor in calibrated.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            assert torch.equal(tensor, after[name])
        elif name == "bn1.weight":
            assert not torch.equal(tensor, after[name])


def _evaluated(folder: Path, shared: bool = True) -> tuple[Any, Any, float]:
    context = small_context(folder)
    loader = Loader(context.dataset, context.splits.train, CPU)
    found = evaluate_all(context.baseline, loader, world=World.joined() if shared else ALONE)
    return found.scores, found.among, found.loss


def test_evaluation_gives_the_same_to_the_last_bit(pair: Gang, trained: Path, tmp_path: Path) -> None:
    folder = _place(tmp_path / "one", trained)
    right, among, loss = _evaluated(folder, shared=False)
    for shared in pair.call(_evaluated, folder):
        assert np.array_equal(shared[0], right) and np.array_equal(shared[1], among) and shared[2] == loss


def _diverges(folder: Path) -> str:
    try:
        _finetune(folder, None, (), {"lr": 1e30, "warmup_epochs": 0.0})
    except TrainingDiverged as error:
        return str(error)
    return ""


def test_a_loss_that_is_no_number_ends_all_processes_alike(pair: Gang, trained: Path, tmp_path: Path) -> None:
    first, second = pair.call(_diverges, _place(tmp_path / "one", trained))
    assert first == second and first.startswith("finetune.lr: the loss became nan")


def _drawn() -> tuple[float, float]:
    world = World.joined()
    with seeded(1):
        with world.own_draws(2, 3):
            own = float(torch.rand(()))
        return own, float(torch.rand(()))


def test_layers_draw_differently_in_every_process_and_what_all_draw_stays_the_same(pair: Gang) -> None:
    (mine, common), (other, too) = pair.call(_drawn)
    assert mine != other and common == too


def _united() -> list[float]:
    world, norm = World.joined(), nn.BatchNorm2d(2)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.fill_(world.rank)
    norm.running_var.fill_(3 + world.rank)
    world.unite_norms(nn.Sequential(norm, nn.ReLU()))
    return [float(norm.running_mean[0]), float(norm.running_var[1])]


def test_statistics_become_their_means(pair: Gang) -> None:
    assert pair.call(_united) == [[0.5, 3.5], [0.5, 3.5]]


class HalfUsed(nn.Module):
    """A network of two layers, of which its forward uses one."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x.flatten(1))


def _half_used() -> tuple[list[float], bool]:
    torch.manual_seed(0)
    world, model = World.joined(), HalfUsed()
    before = model.unused.weight.detach().clone()
    trainer = Trainer(model, Recipe(steps=3, lr=0.1, batch=8), CPU, world=world)
    images, labels = torch.arange(32.0).view(8, 1, 2, 2) / 32, torch.arange(8) % 3
    share = trainer.share(8)
    trainer.run([(images[share], labels[share])] * 3)
    return model.used.weight.flatten().tolist(), torch.equal(before, model.unused.weight)


def test_a_layer_that_is_never_called_keeps_nobody_waiting(pair: Gang) -> None:
    first, second = pair.call(_half_used)
    assert first == second and first[1]


@pytest.mark.parametrize(("count", "size"), [(8, 2), (9, 2), (7, 3), (64, 4)])
def test_shares_are_the_batch_in_its_order(count: int, size: int) -> None:
    shares = [World(rank, size).share(count) for rank in range(size)]
    assert np.concatenate(shares).tolist() == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    ahead = [World(rank, size).share(count, before=True)[0] for rank in range(size)]
    assert ahead == [(share[0] - 1) % count for share in shares]
    weights = [World(rank, size).weight(len(share), count) for rank, share in enumerate(shares)]
    assert sum(weights) == pytest.approx(size)


def test_alone_everything_is_what_it_was() -> None:
    model, value = nn.BatchNorm1d(2), torch.ones(2)
    assert ALONE.synchronised(model) is ALONE.wrapped(model, CPU) is model
    assert ALONE.mean(value) is value and ALONE.agreed(lambda: 3) == 3 and ALONE.gathered([1]) == [1]
    assert ALONE.share(3).tolist() == [0, 1, 2]


def test_synchronised_batch_norm_has_the_same_weights_by_the_same_names() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    before = dict(model.named_parameters())
    converted = World(0, 2).synchronised(model)
    assert isinstance(converted[1], nn.SyncBatchNorm)
    after = dict(converted.named_parameters())
    assert before.keys() == after.keys() and all(before[name] is after[name] for name in before)
