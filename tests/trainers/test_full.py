from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.spec_network import FinetuneSpec
from tests.trainers.small import CPU, PLAN, TRAINING, same_weights, small_context, small_spec
from trainers import files
from trainers.baseline import TrainingDiverged
from trainers.compress import compress
from trainers.datasets._types import Dataset
from trainers.full import evaluate_test, finetune, select_and_test, time_step
from trainers.proxy import Context


class Killed(Exception):
    pass


def _settings(**keys: Any) -> FinetuneSpec:
    return FinetuneSpec(**{**TRAINING, "epochs": 3, **keys})


def _run(
    context: Context, folder: Path, plan: Plan | None = PLAN, kill_after: int | None = None, **keys: Any
) -> tuple[dict[str, Any], list[int]]:
    told: list[int] = []

    def progress(state: dict[str, Any]) -> None:
        if state["done"] == int(state["done"]):
            told.append(state["done"])
        if state["done"] == kill_after:
            raise Killed

    folder.mkdir(exist_ok=True)
    return finetune(context, "searched", plan, folder, _settings(**keys), progress), told


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return small_context(tmp_path)


def _rebuilt(context: Context, folder: Path) -> torch.nn.Module:
    model = compress(context.baseline, PLAN, input_shape=context.dataset.input_shape)
    model.load_state_dict(files.load(folder / "weights.pth"))
    return model


def test_a_plan_that_cannot_be_calibrated_is_named(context: Context, tmp_path: Path) -> None:
    with torch.no_grad():
        context.baseline.get_submodule("layer1.0.bn1").weight.fill_(float("inf"))
    with pytest.raises(TrainingDiverged, match=r"full fine-tune of searched: .*not a number while it is calibrated"):
        _run(context, tmp_path / "plan")


def test_a_reconstruction_tells_how_many_blocks_are_done(tmp_path: Path) -> None:
    short = {"calibrator": "brecq", "images": 64, "iterations": 2, "act_iterations": 1}
    context = small_context(tmp_path, small_spec(reconstruction=short))
    states: list[dict[str, Any]] = []
    finetune(context, "searched", PLAN, tmp_path, _settings(epochs=0), states.append)
    told = [state["reconstructed"] for state in states if "reconstructed" in state]
    total = told[0][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told}) and told[-1] == [total, total]


def test_the_result_is_what_its_weights_score(context: Context, tmp_path: Path) -> None:
    result, told = _run(context, tmp_path / "plan")
    assert told[-3:] == [1, 2, 3]
    assert result["plan_hash"] == PLAN.hash
    correct = np.load(tmp_path / "plan" / "correct.npy")
    assert correct.dtype == bool
    assert correct.mean() == result["test_accuracy"]
    assert result["test_images"] == len(correct) == 1200
    share = result["test_accuracy"]
    assert result["test_standard_error"] == pytest.approx((share * (1 - share) / 1200) ** 0.5)
    model = _rebuilt(context, tmp_path / "plan")
    again = select_and_test(model, context.dataset, context.splits, CPU, tmp_path / "again.npy")
    assert {name: result[name] for name in again} == again
    assert np.array_equal(np.load(tmp_path / "again.npy"), correct)


def test_a_finished_fine_tune_is_read_and_not_repeated(context: Context, tmp_path: Path) -> None:
    result, _ = _run(context, tmp_path / "plan")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "plan").iterdir()}
    again, told = _run(context, tmp_path / "plan")
    assert again == result == json.loads((tmp_path / "plan" / "result.json").read_text())
    assert told == []
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "plan").iterdir()}


def test_a_killed_fine_tune_goes_on_to_the_same_result(context: Context, tmp_path: Path) -> None:
    whole, _ = _run(context, tmp_path / "whole")
    for epoch in (1, 2):
        with pytest.raises(Killed):
            _run(context, tmp_path / "killed", kill_after=epoch)
    resumed, told = _run(context, tmp_path / "killed")
    assert told == [2, 3]
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}
    assert same_weights(*(files.load(tmp_path / name / "weights.pth") for name in ("whole", "killed")))
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "correct.npy",
        "result.json",
        "steps.json",
        "weights.pth",
    ]
    steps = [json.loads((tmp_path / name / "steps.json").read_text()) for name in ("whole", "killed")]
    assert steps[0] == steps[1] and len(steps[0]) == 1 + 3


def test_the_test_images_choose_nothing(context: Context, tmp_path: Path) -> None:
    honest, _ = _run(context, tmp_path / "honest")
    spoilt = small_context(tmp_path, test_labels=(context.dataset.test_labels + 1) % 10)
    lied, _ = _run(spoilt, tmp_path / "lied")
    assert lied["test_accuracy"] != honest["test_accuracy"]
    assert (lied["select_accuracy"], lied["best_epoch"]) == (honest["select_accuracy"], honest["best_epoch"])
    assert same_weights(*(files.load(tmp_path / name / "weights.pth") for name in ("honest", "lied")))


def test_the_best_epoch_on_the_selecting_slice_is_kept(context: Context, tmp_path: Path) -> None:
    # A rate this high ruins what calibration found, so that the last epoch is not the best.
    ruined, _ = _run(context, tmp_path / "ruined", lr=5.0, warmup_epochs=0.0)
    plain, _ = _run(context, tmp_path / "plain")
    model = _rebuilt(context, tmp_path / "ruined")
    tested = select_and_test(model, context.dataset, context.splits, CPU, tmp_path / "c.npy")
    assert tested["select_accuracy"] == ruined["select_accuracy"]
    assert plain["select_accuracy"] > ruined["select_accuracy"]


def test_the_float_baseline_gets_the_same_training(context: Context, tmp_path: Path) -> None:
    result, told = _run(context, tmp_path / "float", plan=None)
    assert result["plan_hash"] is None
    assert told[-1] == 3
    state = files.load(tmp_path / "float" / "weights.pth")
    assert state.keys() == context.baseline.state_dict().keys()
    assert not same_weights(state, context.baseline.state_dict())


def test_distillation_leads_to_other_weights(context: Context, tmp_path: Path) -> None:
    _run(context, tmp_path / "hard", epochs=1)
    _run(context, tmp_path / "soft", epochs=1, distillation=0.9)
    assert not same_weights(*(files.load(tmp_path / name / "weights.pth") for name in ("hard", "soft")))


def test_no_epochs_leave_the_calibrated_network(context: Context, tmp_path: Path) -> None:
    result, _ = _run(context, tmp_path / "plan", epochs=0)
    assert result["best_epoch"] == 0
    assert result["test_images"] == 1200


def test_a_rate_that_is_too_high_is_named_with_its_role(context: Context, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^finetune\.lr: .*searched.*got 1e\+30; lower it"):
        _run(context, tmp_path / "plan", lr=1e30, warmup_epochs=0.0)
    assert not (tmp_path / "plan" / "result.json").exists()


def test_testing_reports_images_and_their_standard_error(context: Context) -> None:
    tested = evaluate_test(context.baseline, context.dataset, CPU)
    assert tested.keys() == {"test_accuracy", "test_images", "test_standard_error"}


def test_with_many_classes_the_first_five_answers_are_reported_too() -> None:
    labels = np.arange(60) % 30
    images = np.zeros((60, 1, 1, 1), np.uint8)
    data = Dataset(images, labels, images, labels, tuple(map(str, range(30))), (0.0,), (1.0,), "made up")

    class Fixed(nn.Module):
        """Answers 0, 1, 2, ... in this order whatever it sees."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -torch.arange(30.0).repeat(len(x), 1)

    tested = evaluate_test(Fixed(), data, CPU)
    assert tested["test_accuracy"] == pytest.approx(1 / 30)
    assert tested["test_top5_accuracy"] == pytest.approx(5 / 30)


@pytest.mark.parametrize(("section", "plan"), [("baseline", None), ("finetune", PLAN)])
def test_a_training_step_can_be_timed(tmp_path: Path, section: str, plan: Plan | None) -> None:
    context = small_context(tmp_path, small_spec(finetune={"distillation": 0.5}))
    before = {name: value.clone() for name, value in context.baseline.state_dict().items()}
    assert time_step(context, plan, getattr(context.spec, section), 2) > 0
    assert same_weights(before, context.baseline.state_dict())
