from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pqsearch.plan import Item, LayerPlan, Plan, Result
from tests.trainers.small import PLAN, RUNGS, same_weights, small_context, small_spec
from trainers import data, files, proxy
from trainers.loop import Trainer
from trainers.proxy import Context, calibrate, compressed, evaluate, lost_rungs
from trainers.quantized import quantized_layers

FEW_SHOT = {"kind": "few_shot", "steps": 3, "lr": 0.01, "batch_size": 32}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return small_context(tmp_path)


def _climb(context: Context, plan: Plan = PLAN, id: int = 0, repeat: int = 0) -> list[Result]:
    results: list[Result] = []
    for rung in range(len(context.spec.rungs)):
        last = rung == len(context.spec.rungs) - 1
        start = results[-1].weights if results else None
        results.append(evaluate(context, Item(id, "candidate", plan, rung, repeat, start, last)))
    return results


def _scores(results: list[Result]) -> list[Any]:
    return [(result.accuracy, result.loss) for result in results]


def test_every_rung_gives_a_score_on_the_scoring_slice_and_leaves_weights_for_the_next(context: Context) -> None:
    calibrated, tuned = _climb(context)
    assert calibrated.accuracy is not None
    assert calibrated.accuracy.images == 100
    assert calibrated.weights == f"0-0-0-{PLAN.hash}.pth"
    assert tuned.weights is None
    assert [path.name for path in context.scratch.iterdir()] == [f"0-0-0-{PLAN.hash}.pth"]
    assert {"surgery", "calibrate", "score"} <= calibrated.seconds.keys()
    assert "train" in tuned.seconds
    assert calibrated.loss != tuned.loss


def test_a_rung_from_its_file_scores_as_one_from_memory(context: Context, tmp_path: Path) -> None:
    unbroken = _climb(context)
    item = Item(0, "candidate", PLAN, 1, 0, unbroken[0].weights, True)
    assert context.held is None
    again = evaluate(context, item)
    assert (again.accuracy, again.loss) == (unbroken[1].accuracy, unbroken[1].loss)


def test_weights_that_are_gone_are_made_once_more_from_the_highest_rung_that_is_left(tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec(rungs=[*RUNGS, RUNGS[1]]))
    unbroken = [evaluate(context, Item(0, "candidate", PLAN, 0, 0, None, False))]
    for rung in (1, 2):
        unbroken.append(evaluate(context, Item(0, "candidate", PLAN, rung, 0, unbroken[-1].weights, rung == 2)))
    last = Item(0, "candidate", PLAN, 2, 0, unbroken[1].weights, True)
    files = [context.scratch / str(result.weights) for result in unbroken[:2]]
    assert lost_rungs(context, last) == []
    files[1].unlink()
    assert lost_rungs(context, last) == [Item(0, "candidate", PLAN, 1, 0, unbroken[0].weights, False)]
    files[0].unlink()
    again = lost_rungs(context, last)
    assert [(item.rung, item.start) for item in again] == [(0, None), (1, unbroken[0].weights)]
    scores = [(result.accuracy, result.loss) for result in (evaluate(context, item) for item in (*again, last))]
    assert scores == [(result.accuracy, result.loss) for result in unbroken]


def test_weights_that_are_held_need_no_file(context: Context) -> None:
    first = evaluate(context, Item(0, "candidate", PLAN, 0, 0, None, False))
    (context.scratch / str(first.weights)).unlink()
    assert lost_rungs(context, Item(0, "candidate", PLAN, 1, 0, first.weights, True)) == []


def test_the_order_of_candidates_does_not_matter(context: Context) -> None:
    other = Plan(layers={"linear": LayerPlan(2, 2)})
    first = _scores(_climb(context, PLAN, id=1))
    _climb(context, other, id=2)
    assert _scores(_climb(context, PLAN, id=3)) == first


def test_another_repeat_trains_with_other_luck(context: Context) -> None:
    assert _climb(context, repeat=0)[1].loss != _climb(context, repeat=1)[1].loss


def test_the_same_plan_scores_the_same_in_another_process(context: Context, tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; import torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "from tests.trainers.small import small_context; from tests.trainers.test_proxy import _climb\n"
        "context = small_context(Path(sys.argv[1]))\n"
        "print(json.dumps([[r.accuracy.value, r.loss] for r in _climb(context, id=9)]))"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), str(torch.get_num_threads())]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    mine = [[result.accuracy.value, result.loss] for result in _climb(context) if result.accuracy]
    assert json.loads(done.stdout) == mine


def test_test_images_do_not_touch_a_score(context: Context, tmp_path: Path) -> None:
    spoilt = small_context(
        tmp_path,
        test_labels=(context.dataset.test_labels + 1) % 10,
        test_images=255 - context.dataset.test_images,
    )
    assert _scores(_climb(spoilt)) == _scores(_climb(context))


def test_images_that_select_checkpoints_do_not_touch_a_score(context: Context) -> None:
    before = _scores(_climb(context))
    rows = context.splits.select.indices
    context.dataset.train_images[rows] = 255 - context.dataset.train_images[rows]
    assert _scores(_climb(context, id=1)) == before


def test_nothing_trains_on_the_images_that_score(context: Context) -> None:
    before = _climb(context)[1]
    images, rows = context.dataset.train_images, context.splits.score.indices
    images[rows] = 255 - images[rows]
    evaluate(context, Item(1, "candidate", PLAN, 0, 0, None, False))
    after = evaluate(context, Item(1, "candidate", PLAN, 1, 0, f"1-0-0-{PLAN.hash}.pth", False))
    assert after.loss != before.loss
    images[rows] = 255 - images[rows]
    evaluate(context, Item(2, "candidate", PLAN, 0, 0, None, False))
    evaluate(context, Item(2, "candidate", PLAN, 1, 0, f"2-0-0-{PLAN.hash}.pth", False))
    assert same_weights(*(files.load(context.scratch / f"{id}-0-1-{PLAN.hash}.pth") for id in (1, 2)))


def test_the_baseline_is_left_untouched(context: Context) -> None:
    before = {name: value.clone() for name, value in context.baseline.state_dict().items()}
    _climb(context)
    assert same_weights(before, context.baseline.state_dict())


def test_few_shot_moves_batch_norm_and_steps_but_no_weights(tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec(rungs=[RUNGS[0], FEW_SHOT, FEW_SHOT]))
    _climb(context)
    before, after = (files.load(context.scratch / f"0-0-{rung}-{PLAN.hash}.pth") for rung in (0, 1))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"bn1.weight", "layer1.0.conv1.weight_quantizer.step"} <= moved
    assert not {name for name in moved if before[name].ndim > 1}


def test_steps_are_set_even_if_no_rung_calibrates(tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec(rungs=[RUNGS[1], RUNGS[1]]))
    _climb(context)
    state = files.load(context.scratch / f"0-0-0-{PLAN.hash}.pth")
    signs = [int(value) for name, value in state.items() if name.endswith("seen_signed")]
    assert len(signs) == 6
    assert min(signs) >= 0


def test_calibration_matches_batch_norm_to_the_quantised_network(context: Context) -> None:
    model = compressed(context, PLAN)
    calibrate(context, model, 64)
    assert all(quantizer.ready for _, layer in quantized_layers(model) for quantizer in layer.children())
    seen: list[torch.Tensor] = []
    norm = model.get_submodule("layer2.0.bn2")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    handle = norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    # As in training, not as they are.
    images, _ = context.train.sample(64, "calibration", 0, augment=tuple(context.spec.data.augment))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    # Those ahead of it were measured too, so that only rounding is between them.
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), atol=0.01, rtol=0.01)


def test_calibration_images_in_several_batches_weigh_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = small_context(tmp_path)
    sizes: list[int] = []
    monkeypatch.setattr(data, "evaluation_batch", lambda shape, device: 60)
    monkeypatch.setattr(proxy, "reestimate_norms", lambda model, parts: sizes.extend(map(len, parts)))
    calibrate(context, compressed(context, PLAN), 64)
    assert sizes == [32, 32, 32, 32]


def test_an_empty_plan_keeps_every_weight_and_scores(context: Context) -> None:
    assert same_weights(compressed(context, Plan()).state_dict(), context.baseline.state_dict())
    assert evaluate(context, Item(0, "candidate", Plan(), 0)).failure is None


def test_divergence_is_a_failure_of_the_candidate_with_its_reason(tmp_path: Path) -> None:
    wild = {**RUNGS[1], "lr": 1e30, "steps": 20}
    context = small_context(tmp_path, small_spec(rungs=[RUNGS[0], wild]))
    calibrated, failed = _climb(context)
    assert calibrated.failure is None
    assert failed.failure is not None
    assert failed.failure.startswith("diverged: ")
    assert failed.accuracy is failed.loss is failed.weights is None
    assert _climb(context, id=1)[0].loss == calibrated.loss


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_lack_of_memory_is_a_failure_of_the_candidate(
    context: Context, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(self: Trainer, batches: object) -> float:
        raise error

    monkeypatch.setattr(Trainer, "run", full)
    failed = _climb(context)[1]
    assert failed.failure is not None
    assert failed.failure.startswith("out of memory: ")
    assert not failed.crowded


def test_with_a_share_of_a_gpu_it_may_have_been_the_share_unless_the_plan_had_the_gpu_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Trainer, batches: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    context = small_context(tmp_path, small_spec(workers={"count": 2, "cpus": 1, "gpus": 0.5}))
    monkeypatch.setattr(Trainer, "run", full)
    first = evaluate(context, Item(0, "candidate", PLAN, 0, 0, None, False))
    item = Item(0, "candidate", PLAN, 1, 0, first.weights, True)
    assert evaluate(context, item).crowded
    assert not evaluate(context, replace(item, alone=True)).crowded


def test_other_errors_are_not_taken_for_the_candidates_fault_and_spoil_nothing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _scores(_climb(context, id=5))
    first = evaluate(context, Item(6, "candidate", PLAN, 0, 0, None, False))
    second = Item(6, "candidate", PLAN, 1, 0, first.weights, True)
    train = Trainer.run

    def late(self: Trainer, batches: Any) -> float:
        train(self, batches)
        raise RuntimeError("the plug was pulled")

    monkeypatch.setattr(Trainer, "run", late)
    with pytest.raises(RuntimeError, match="plug"):
        evaluate(context, second)
    monkeypatch.undo()
    again = evaluate(context, second)
    assert (again.accuracy, again.loss) == expected[1]


@pytest.mark.parametrize("importance", ["taylor", "fpgm", "l2"])
def test_other_importances_keep_other_channels(tmp_path: Path, importance: str) -> None:
    spec = small_spec(pruning={"importance": importance, "gradient_images": 32})
    result = evaluate(small_context(tmp_path, spec), Item(0, "candidate", PLAN, 0))
    assert result.failure is None
