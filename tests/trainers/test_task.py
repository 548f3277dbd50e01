"""Losses and metrics of the user's: tried before anything runs, used wherever something is trained or scored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pqsearch.drop import drop_of
from pqsearch.errors import UserError
from pqsearch.plan import Accuracy, Item, Plan
from pqsearch.report.verdict import paired_difference
from pqsearch.spec import Spec
from pqsearch.spec_network import TaskSpec
from tests.own_modules import own_modules
from tests.trainers.small import CPU, PLAN, TRAINING, small_context, small_data, small_spec
from trainers.baseline import train_baseline
from trainers.data import Loader
from trainers.full import evaluate_test, finetune
from trainers.loop import Recipe, Trainer, evaluate
from trainers.proxy import compare
from trainers.proxy import evaluate as evaluate_item
from trainers.prune import channel_scores
from trainers.task import CLASSIFY, Task, accuracy_of, checked_task, task_of

OWN = """
import torch
from torch.nn import functional

def focal(outputs, labels, *, gamma=2.0):
    sure = functional.log_softmax(outputs, 1).gather(1, labels[:, None])[:, 0]
    return -((1 - sure.exp()) ** gamma * sure).mean()

def brier(outputs, labels):
    wanted = functional.one_hot(labels, outputs.shape[1]) if labels.ndim == 1 else labels
    return (outputs.softmax(1) - wanted).square().sum(1).mean()

def confidence(outputs, labels, *, power=1):
    return outputs.softmax(1).gather(1, labels[:, None])[:, 0] ** power

def near(outputs, labels):
    return 1 - (outputs.argmax(1) - labels).abs() / (outputs.shape[1] - 1)

def summed(outputs, labels): return functional.cross_entropy(outputs, labels, reduction="sum")
def single(outputs, labels): return functional.cross_entropy(outputs, labels, reduction="none")
def errors(outputs, labels): return (outputs.argmax(1) != labels).float().mean()
def detached(outputs, labels): return functional.cross_entropy(outputs.detach(), labels)
def endless(outputs, labels): return (outputs.sum() * 0).log()
def steep(outputs, labels): return (outputs * 0).sqrt().mean()
def number(outputs, labels): return 0.5
def breaks(outputs, labels): raise RuntimeError("no\\nsuch thing")
def logits(outputs, labels): return outputs.gather(1, labels[:, None])[:, 0] * 10 + 5
def mean(outputs, labels): return confidence(outputs, labels).mean()
def undefined(outputs, labels): return confidence(outputs, labels) * float("nan")
def hidden(outputs, labels): return confidence(outputs, labels) if len(labels) <= 6 else 2 * confidence(outputs, labels) + 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    with own_modules(tmp_path, mytask=OWN) as found:
        yield str(found)


def _spec(folder: str, **task: Any) -> Spec:
    names = {key: f"mytask:{value}" if key in ("loss", "metric") else value for key, value in task.items()}
    return small_spec(task={**names, "folder": folder})


def test_a_task_of_nothing_is_cross_entropy_and_the_share_of_right_answers() -> None:
    outputs, labels = torch.randn(9, 4), torch.arange(9) % 4
    assert task_of(TaskSpec()) == CLASSIFY
    assert torch.equal(
        CLASSIFY.train_loss(outputs, labels, 0.1), functional.cross_entropy(outputs, labels, label_smoothing=0.1)
    )
    scores = CLASSIFY.scores(outputs, labels)
    assert scores.dtype == np.bool_ and scores.tolist() == (outputs.argmax(1) == labels).tolist()
    assert accuracy_of(scores) == Accuracy(float(scores.mean()), 9)


def test_functions_of_the_users_get_their_options(folder: str) -> None:
    task = checked_task(
        _spec(folder, loss="focal", loss_options={"gamma": 0.0}, metric="confidence", metric_options={"power": 2}), 10
    )
    outputs, labels = torch.randn(9, 10), torch.arange(9)
    assert float(task.train_loss(outputs, labels)) == pytest.approx(
        float(functional.cross_entropy(outputs, labels)), rel=1e-5
    )
    expected = outputs.softmax(1).gather(1, labels[:, None])[:, 0].double() ** 2
    assert task.scores(outputs, labels) == pytest.approx(expected.numpy(), rel=1e-5)


WRONG_LOSSES = {
    "summed": "must be a mean over the batch, but the same images twice give ",
    "single": "must return a tensor of one number, the mean over the batch, got a tensor of shape (6,)",
    "errors": "cannot be differentiated: no gradient goes from it to the outputs",
    "detached": "cannot be differentiated: no gradient goes from it to the outputs",
    "endless": "must be finite, got -inf",
    "steep": "must have finite gradients, got some that are not",
    "number": "must return a tensor of one number, the mean over the batch, got float",
    "breaks": "fails on outputs (6, 10) and labels (6,): RuntimeError: no such thing",
}
WRONG_METRICS = {
    "logits": "must score images in [0, 1], got ",
    "mean": "must return a tensor with the score of each image, of shape (6,) here, got a tensor of shape ()",
    "undefined": "must score images in [0, 1], got nan; scale it",
    "number": "must return a tensor with the score of each image, of shape (6,) here, got float",
    "breaks": "fails on outputs (6, 10) and labels (6,): RuntimeError: no such thing",
}


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        *(("loss", name, words) for name, words in WRONG_LOSSES.items()),
        *(("metric", name, words) for name, words in WRONG_METRICS.items()),
    ],
)
def test_what_cannot_be_trained_by_or_scored_with_is_refused_in_one_line(
    folder: str, key: str, name: str, words: str
) -> None:
    with pytest.raises(UserError) as error:
        checked_task(_spec(folder, **{key: name}), 10)
    (problem,) = error.value.problems
    assert problem.startswith(f"task.{key}: mytask:{name} {words}") and "\n" not in problem


def test_both_are_complained_of_at_once(folder: str) -> None:
    with pytest.raises(UserError) as error:
        checked_task(_spec(folder, loss="summed", metric="mean"), 10)
    assert [problem.partition(":")[0] for problem in error.value.problems] == ["task.loss", "task.metric"]


def test_a_loss_that_knows_only_labels_is_refused_where_images_are_mixed(folder: str) -> None:
    spec = _spec(folder, loss="focal").model_copy(update={"baseline": small_spec(baseline={"mixup": 0.2}).baseline})
    with pytest.raises(
        UserError, match=r"^baseline.mixup: makes shares \(images, classes\) of labels, and mytask:focal fails"
    ):
        checked_task(spec, 10)
    checked_task(_spec(folder, loss="brier").model_copy(update={"baseline": spec.baseline}), 10)


def test_training_follows_the_loss(folder: str) -> None:
    spec = _spec(folder, loss="brier")
    dataset, splits = small_data(spec)
    task = task_of(spec.task)
    loader = Loader(dataset, splits.train, CPU)
    images, labels = loader.sample(64, "test")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    expected = task.train_loss(model(images), labels).item()
    trainer = Trainer(model, Recipe(steps=8, lr=0.05, task=task, amp=False), CPU)
    assert trainer.run([(images, labels)]) == pytest.approx(expected, rel=1e-5)
    trainer.run([(images, labels)] * 7)
    assert task.train_loss(model(images), labels).item() < expected


def test_the_baseline_a_rung_and_the_fine_tune_are_trained_and_scored_by_the_task(folder: str, tmp_path: Path) -> None:
    spec = _spec(folder, loss="brier", metric="confidence").model_copy(
        update={"target": small_spec(target={"max_drop": 5.0, "minimize": "flops"}, study={"evaluations": 30}).target}
    )
    context = small_context(tmp_path, spec)
    told: list[dict[str, Any]] = []
    (tmp_path / "trained").mkdir()
    train_baseline(spec, context.dataset, context.splits, tmp_path / "trained", CPU, told.append)
    assert 0.1 < told[-1]["accuracy"] < 1 and told[-1]["loss"] < 1  # a Brier score; the cross-entropy starts at 2.3
    result = evaluate_item(context, Item(0, "candidate", PLAN, 0, last=False))
    assert result.accuracy is not None and result.loss is not None
    assert result.accuracy.deviation is not None and result.loss < 1.2
    assert isinstance(result.lost, float) and isinstance(result.squares, float)
    (tmp_path / "plan").mkdir()
    found = finetune(context, "searched", PLAN, tmp_path / "plan", spec.finetune)
    scores = np.load(tmp_path / "plan" / "correct.npy")
    assert scores.dtype == np.float64 and found["test_accuracy"] == pytest.approx(scores.mean())
    assert found["test_standard_error"] == pytest.approx(scores.std() / len(scores) ** 0.5)
    assert 0 < found["select_standard_error"] < (found["select_accuracy"] * (1 - found["select_accuracy"]) / 60) ** 0.5
    assert "test_top5_accuracy" not in evaluate_test(
        context.baseline, replace(context.dataset, classes=tuple(map(str, range(40)))), CPU, task=context.task
    )


def test_a_fine_tune_that_was_interrupted_remembers_how_scores_spread(folder: str, tmp_path: Path) -> None:
    spec = _spec(folder, metric="confidence")
    context = small_context(tmp_path, spec)

    class Killed(Exception):
        pass

    def kill(state: dict[str, Any]) -> None:
        if state["done"] == 1:
            raise Killed

    results = []
    for name, progress in (("unbroken", lambda state: None), ("broken", kill)):
        (tmp_path / name).mkdir()
        settings = spec.finetune.model_copy(update={"epochs": 2, "lr": 1e-6})
        if progress is kill:
            with pytest.raises(Killed):
                finetune(context, "searched", PLAN, tmp_path / name, settings, progress)
        finetune(context, "searched", PLAN, tmp_path / name, settings)
        results.append({**json.loads((tmp_path / name / "result.json").read_text()), "seconds": 0})
    assert results[0] == results[1]


def test_gradients_that_rank_channels_are_those_of_the_loss(folder: str, tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec(baseline=TRAINING))
    batch = context.train.sample(64, "test")
    context.baseline.requires_grad_(True)
    by = [
        channel_scores(context.baseline, context.traced, "taylor", None, batch, task.train_loss)
        for task in (CLASSIFY, task_of(_spec(folder, loss="brier").task))
    ]
    plain = channel_scores(context.baseline, context.traced, "taylor", None, batch)
    assert all(torch.equal(by[0][name], plain[name]) for name in plain)
    assert not any(torch.equal(by[0][name], by[1][name]) for name in plain)


def test_drops_of_fractions_have_the_error_of_paired_samples() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(4000)
    after = np.clip(before - rng.normal(0.02, 0.05, 4000), 0, 1)
    found = drop_of([{**compare(before, after), "images": 4000}])
    exact = paired_difference(before, after)
    assert found is not None
    assert found.value == pytest.approx(100 * exact["value"])
    # Half an image is added to both sides, which counts for more where all differences are small.
    assert exact["standard_error"] < found.standard_error / 100 < 1.1 * exact["standard_error"]


def test_scores_that_are_one_or_zero_compare_like_right_and_wrong() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.random(500) < 0.9, rng.random(500) < 0.8
    counted = compare(before, after)
    assert drop_of([{**counted, "images": 500}]) == drop_of(
        [{**compare(before.astype(float), after.astype(float)), "images": 500}]
    )
    assert accuracy_of(after.astype(float)).standard_error == pytest.approx(accuracy_of(after).standard_error)


def test_an_image_whose_outputs_are_no_numbers_scores_nothing(folder: str) -> None:
    task = task_of(_spec(folder, metric="confidence").task)
    outputs = torch.zeros(3, 4)
    outputs[1, 2] = float("nan")
    assert task.scores(outputs, torch.zeros(3, dtype=torch.int64)).tolist() == [0.25, 0.0, 0.25]


def test_a_metric_that_leaves_its_range_only_on_real_images_is_named(folder: str, tmp_path: Path) -> None:
    spec = _spec(folder, metric="hidden")
    context = small_context(tmp_path, small_spec())
    checked_task(spec, 10)
    with pytest.raises(UserError, match=r"^task.metric: must score images in \[0, 1\], got .*; scale it"):
        evaluate(context.baseline, context.score, task_of(spec.task))


def test_the_same_plan_scores_the_same_by_a_task_that_is_given_and_by_default(tmp_path: Path) -> None:
    own = Task(functional.cross_entropy, lambda outputs, labels: (outputs.argmax(1) == labels).float())
    context = small_context(tmp_path)
    item = Item(0, "candidate", Plan(), 0)
    plain, given = evaluate_item(context, item), evaluate_item(replace(context, task=own), item)
    assert plain.accuracy is not None and given.accuracy is not None and plain.loss is not None
    assert given.accuracy.value == pytest.approx(plain.accuracy.value) and given.loss == pytest.approx(plain.loss)


def test_functions_that_fail_on_a_batch_of_real_images_say_so_in_a_line() -> None:
    def wants_few(outputs: Tensor, labels: Tensor) -> Tensor:
        raise ValueError(f"only\n{len(labels) // 2} fit")

    task = Task(wants_few, wants_few)
    outputs, labels = torch.zeros(64, 10), torch.zeros(64, dtype=torch.int64)
    line = r"fails on outputs \(64, 10\) and labels \(64,\): ValueError: only 32 fit; mend it$"
    for key, call in (("loss", task.train_loss), ("loss", task.total_loss), ("metric", task.scores)):
        with pytest.raises(UserError, match=rf"^task\.{key}: {line}"):
            call(outputs, labels)

    def exhausts(outputs: Tensor, labels: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        Task(exhausts).train_loss(outputs, labels)
