from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pqsearch.plan import LayerPlan, Plan
from tests.trainers.small import CPU, small_data, small_spec
from trainers import files, loop
from trainers.baseline import initial_model
from trainers.compress import calibrate_steps, compress
from trainers.data import Loader
from trainers.loop import STEP_SHARE, Diverged, Recipe, Trainer, distillation_loss, evaluate, parameter_groups
from trainers.quantized import step_parameters
from trainers.schedules import schedule


def _net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def _batches(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images whose brightest pixel of three is the class."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(16, 1, 2, 2, generator=generator) for _ in range(count)]
    return [(batch, batch.flatten(1)[:, :3].argmax(1)) for batch in images]


def test_the_optimizer_follows_the_schedule_step_by_step() -> None:
    recipe = Recipe(steps=6, lr=0.1, warmup_steps=2)
    trainer, seen = Trainer(_net(), recipe, CPU), []

    def watched():  # type: ignore[no-untyped-def]
        for batch in _batches():
            yield batch
            seen.append(trainer.optimizer.param_groups[0]["lr"])

    trainer.run(watched())
    assert seen == pytest.approx([0.1 * schedule(step, recipe) for step in range(6)])


def test_weights_decay_but_batch_norm_biases_and_steps_do_not() -> None:
    spec = small_spec()
    dataset, _ = small_data(spec)
    float_net = initial_model(spec, dataset)
    names = [name for name, module in float_net.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    plan = Plan(layers={name: LayerPlan(4, 4) for name in names})
    model = compress(float_net, plan, input_shape=dataset.input_shape)
    decayed, free, steps = parameter_groups(model, 0.1)
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {by_id[id(parameter)] for parameter in decayed["params"]} == {f"{name}.weight" for name in names}
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0
    assert {id(step) for step in step_parameters(model)} == {id(parameter) for parameter in steps["params"]}
    assert steps["weight_decay"] == 0
    assert steps["share"] == STEP_SHARE < free["share"] == decayed["share"] == 1
    assert sum(len(group["params"]) for group in (decayed, free, steps)) == len(list(model.parameters()))


def _quantised_net(per_channel: bool = True) -> nn.Module:
    plan = Plan(layers={"1": LayerPlan(8, 8), "4": LayerPlan(8, 8)})
    options = {"per_channel": per_channel}
    net = compress(_net().eval(), plan, input_shape=(1, 2, 2), quantizer_options=options)
    calibrate_steps(net, _batches()[0][0])
    return net


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("amp", [False, True])
def test_however_hard_it_is_pushed_a_step_keeps_half_of_itself_in_an_update(
    monkeypatch: pytest.MonkeyPatch, amp: bool, optimizer: str, per_channel: bool
) -> None:
    monkeypatch.setattr(loop, "mixed_precision", lambda device: torch.bfloat16)
    net = _quantised_net(per_channel)
    steps = step_parameters(net)
    before = [step.detach().clone() for step in steps]
    for step in steps:
        step.register_hook(lambda gradient: torch.full_like(gradient, 1e4))
    Trainer(net, Recipe(steps=100, lr=10.0, optimizer=optimizer, amp=amp), CPU).run(_batches(3))
    for step, start in zip(steps, before, strict=True):
        assert torch.equal(step.detach(), start / 8)


def test_however_long_it_is_pushed_a_step_keeps_a_sixteenth_of_what_it_was_when_the_training_began(
    tmp_path: Path,
) -> None:
    net = _quantised_net()
    before = [step.detach().clone() for step in step_parameters(net)]
    recipe = Recipe(steps=100, lr=10.0)

    def push(net: nn.Module) -> None:
        for step in step_parameters(net):
            step.register_hook(lambda gradient: torch.full_like(gradient, 1e4))

    push(net)
    trainer = Trainer(net, recipe, CPU)
    trainer.run(_batches(3))
    files.save(trainer.state(), tmp_path / "state.pth")
    again = _quantised_net()
    with torch.no_grad():
        for step in step_parameters(again):
            step.mul_(3)  # where it begins does not count: that is when the training went on
    push(again)
    resumed = Trainer(again, recipe, CPU)
    resumed.restore(files.load(tmp_path / "state.pth"))
    for one in (trainer, resumed):
        one.run(_batches(20))
        for step, start in zip(step_parameters(one.model), before, strict=True):
            assert torch.equal(step.detach(), start / 16)


def test_steps_that_keep_half_of_themselves_are_trained_as_without_that_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> list[torch.Tensor]:
        net = _quantised_net()
        Trainer(net, Recipe(steps=6, lr=0.005), CPU).run(_batches())
        return list(net.state_dict().values())

    bounded = trained()
    monkeypatch.setattr(loop, "STEP_LEFT", -1.0)
    assert all(torch.equal(a, b) for a, b in zip(bounded, trained(), strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_lowers_the_loss(optimizer: str) -> None:
    trainer = Trainer(_net(), Recipe(steps=120, lr=0.02, optimizer=optimizer), CPU)
    losses = [trainer.run(_batches()) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_first_step_is_that_of_nesterov_momentum() -> None:
    net, (images, labels) = _net(), _batches()[0]
    before = net[4].weight.detach().clone()
    net.train()
    gradient = torch.autograd.grad(functional.cross_entropy(net(images), labels), net[4].weight)[0]
    Trainer(net, Recipe(steps=1, lr=0.1, amp=False), CPU).run([(images, labels)])
    # Velocity starts as the gradient; Nesterov looks ahead by momentum times it.
    torch.testing.assert_close(net[4].weight.detach(), before - 0.1 * (gradient + 0.9 * gradient))


def test_mixed_precision_computes_in_short_floats_and_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "mixed_precision", lambda device: torch.bfloat16)  # emulated where the CPU has none
    losses, seen = {}, []
    for amp in (True, False):
        net = _net()
        net[4].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        trainer = Trainer(net, Recipe(steps=60, lr=0.02, amp=amp), CPU)
        losses[amp] = [trainer.run(_batches()) for _ in range(10)]
        assert all(parameter.dtype is torch.float32 for parameter in net.parameters())
    assert set(seen) == {torch.bfloat16, torch.float32}
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


def test_a_distilled_loss_mixes_cross_entropy_and_the_scaled_divergence() -> None:
    student, teacher, (images, labels) = _net(0), _net(1).eval(), _batches()[0]
    student.train()
    outputs, wanted = student(images).detach(), teacher(images).detach()
    soft, target = (outputs / 3).softmax(1), (wanted / 3).softmax(1)
    divergence = 9 * (target * (target.log() - soft.log())).sum(1).mean()
    smooth = functional.cross_entropy(outputs, labels, label_smoothing=0.1)
    assert float(distillation_loss(outputs, wanted, 3)) == pytest.approx(float(divergence), rel=1e-5)
    recipe = Recipe(steps=1, lr=1e-3, amp=False, label_smoothing=0.1, distillation=0.7, temperature=3)
    loss = Trainer(student, recipe, CPU, teacher).run([(images, labels)])
    assert loss == pytest.approx(0.3 * float(smooth) + 0.7 * float(divergence), rel=1e-5)


def test_without_a_share_the_teacher_is_not_asked() -> None:
    def run(teacher: nn.Module | None) -> float:
        return Trainer(_net(), Recipe(steps=6, lr=0.01), CPU, teacher).run(_batches())

    assert run(None) == run(_net(1))


def test_the_teacher_does_not_change() -> None:
    teacher = _net(1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    Trainer(_net(), Recipe(steps=6, lr=0.1, distillation=0.5), CPU, teacher).run(_batches())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_at_once(poison: float) -> None:
    batches, asked = _batches(), []
    batches[2][0][0] = poison
    trainer = Trainer(_net(), Recipe(steps=6, lr=0.01), CPU)

    def counted():  # type: ignore[no-untyped-def]
        for number, batch in enumerate(batches):
            asked.append(number)
            yield batch

    with pytest.raises(Diverged, match="step 3"):
        trainer.run(counted())
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    "more", [{}, {"ema": 0.9}, {"mixup": 0.4, "cutmix": 1.0, "classes": 3, "clip": 0.5, "schedule": "one_cycle"}]
)
def test_training_resumed_from_its_state_ends_in_the_same_weights(tmp_path: Path, more: dict[str, Any]) -> None:
    recipe = Recipe(steps=12, lr=0.05, warmup_steps=3, weight_decay=0.01, **more)
    whole = Trainer(_net(), recipe, CPU)
    whole.run(_batches())
    files.save(whole.state(), tmp_path / "state.pth")
    resumed = Trainer(_net(5), recipe, CPU)
    resumed.restore(files.load(tmp_path / "state.pth"))
    whole.run(_batches())
    resumed.run(_batches())
    for one, other in ((whole.model, resumed.model), (whole.result, resumed.result)):
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_averaged_weights_and_statistics_follow_the_trained_ones_step_by_step() -> None:
    net = _net()
    trainer = Trainer(net, Recipe(steps=6, lr=0.1, ema=0.75), CPU)
    expected = {}
    for number, batch in enumerate(_batches()):
        trainer.run([batch])
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                expected[name] = 0.75 * expected[name] + 0.25 * value if number else value.clone()
    found = trainer.result.state_dict()
    assert trainer.result is not net
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_a_longer_gradient_is_cut_to_the_given_length() -> None:
    net, before = _net(), _net()
    Trainer(net, Recipe(steps=1, lr=1.0, clip=0.01, amp=False), CPU).run(_batches(1))
    moved = torch.cat([(a - b).flatten() for a, b in zip(net.parameters(), before.parameters(), strict=True)])
    # The first step of Nesterov momentum 0.9 goes 1.9 times the gradient.
    assert float(moved.detach().norm()) == pytest.approx(0.019, rel=1e-4)


def test_quantiser_steps_have_their_own_share_of_the_rate() -> None:
    trainer = Trainer(_quantised_net(), Recipe(steps=2, lr=0.1, step_share=0.02), CPU)
    trainer.run(_batches(1))
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.1, 0.1, 0.002])


def test_dropout_follows_from_the_seed_and_leaves_the_global_generator_alone() -> None:
    def run(seed: int, outside: int) -> tuple[float, float]:
        net = nn.Sequential(_net(), nn.Dropout(0.5))
        torch.manual_seed(outside)
        loss = Trainer(net, Recipe(steps=6, lr=0.01, seed=seed), CPU).run(_batches())
        after = float(torch.rand(()))
        torch.manual_seed(outside)
        assert after == float(torch.rand(()))
        return loss, after

    assert run(1, 10)[0] == run(1, 20)[0]
    assert run(1, 10)[0] != run(2, 10)[0]


def test_evaluation_says_which_images_are_right_and_changes_nothing() -> None:
    spec = small_spec()
    dataset, splits = small_data(spec)
    model, loader = initial_model(spec, dataset), Loader(dataset, splits.score, CPU)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    right, loss = evaluate(model, loader)
    images, labels = loader.take(np.arange(len(loader)))
    logits = model(images).detach()
    assert right.tolist() == (logits.argmax(1) == labels).tolist()
    assert loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
