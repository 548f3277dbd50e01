"""The expected cost of single changes, from gradients: what it agrees with, and what it leaves alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import nn
from torch.nn import functional

from pqsearch.plan import Change, Item, LayerPlan, Plan
from tests.trainers import nets
from tests.trainers.small import small_context, small_data, small_spec
from trainers import sensitivity
from trainers.baseline import train_baseline
from trainers.layers import trace
from trainers.loop import evaluate as evaluate_model
from trainers.proxy import Context, calibrate, compressed, evaluate
from trainers.prune import channel_scores, keep_indices, kept_masks, picked
from trainers.quantized import grid
from trainers.seeds import derive, torch_generator


def _expected(model: nn.Module, shape: tuple[int, ...], changes: Sequence[Change], batches: int = 1) -> list[float]:
    traced = trace(model, shape)
    return sensitivity.expected_losses(
        model.eval().requires_grad_(False),
        traced,
        channel_scores(model, traced),
        [nets.batch(shape, 8, seed) for seed in range(batches)],
        changes,
        quantizer="lsq",
        quantizer_options={},
    )


def _all_changes(model: nn.Module, shape: tuple[int, ...]) -> list[Change]:
    info = trace(model, shape).info
    pruned = [
        Change("prune_rate", group.name, group.unit / group.channels)
        for group in info.groups
        if group.prunable and group.unit < group.channels
    ]
    return pruned + [Change(kind, layer.name, 3) for layer in info.layers for kind in ("weight_bits", "act_bits")]


@pytest.mark.parametrize("name", ["digits_net", "concat_flatten", "grouped", "dense", "mobilenet_v2"])
def test_every_change_of_every_kind_of_network_has_a_finite_cost(name: str) -> None:
    model, shape = nets.make(name)
    changes = _all_changes(model, shape)
    found = _expected(model, shape, changes)
    assert len(found) == len(changes)
    assert np.isfinite(found).all()
    assert min(found) >= 0
    assert max(found) > 0


def test_fewer_bits_and_fewer_channels_cost_more() -> None:
    model, shape = nets.make("digits_net")
    layers = [layer.name for layer in trace(model, shape).info.layers]
    for kind in ("weight_bits", "act_bits"):
        costs = [sum(_expected(model, shape, [Change(kind, name, bits) for name in layers])) for bits in (2, 4, 8)]
        assert costs[0] > costs[1] > costs[2]


def test_kinds_and_layers_that_are_one_knob_are_changed_together() -> None:
    """The sum of what each moves, squared: of one layer alone that is what its kind alone costs."""
    model, shape = nets.make("digits_net")
    names = tuple(layer.name for layer in trace(model, shape).info.layers)
    alone, joint, tied, same = _expected(
        model,
        shape,
        [
            Change("weight_bits", names[0], 2),
            Change("bits", names[0], 2),
            Change("weight_bits", names[0], 2, names[1:]),
            Change("weight_bits", names[0], 2, ()),
        ],
    )
    assert alone == same
    assert joint != alone
    assert tied > alone


#: Convolutions of the networks below whose channels no batch norm reads; of `grouped` the norms beside the shortcut read others.
BARE = {"stem", "twice", "left", "right", "shortcut", "conv"}


def _by_hand(model: nn.Module, shape: tuple[int, ...], change: Change) -> float:
    """1/2 E[(g . d)^2], with d made in full, and what batch norm takes back fitted channel by channel."""
    model.eval().requires_grad_(False)
    traced = trace(model, shape)
    seen: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def keep(name: str, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        output.requires_grad_(True)
        output.retain_grad()
        seen.append((name, inputs.detach(), output))
        return output * 1

    for layer in traced.info.layers:
        module = model.get_submodule(layer.name)
        module.register_forward_hook(lambda module, inputs, output, name=layer.name: keep(name, inputs[0], output))
    answers = model(nets.batch(shape, 8, 0)) / sensitivity.TEMPERATURE
    random = torch_generator(derive("answers", 0))
    drawn = torch.multinomial(answers.detach().softmax(1), 1, generator=random)[:, 0]
    functional.cross_entropy(answers, drawn, reduction="sum").backward()

    masks = {}
    if change.kind == "prune_rate":
        kept = keep_indices(traced, Plan({change.name: change.value}), channel_scores(model, traced))
        masks = {name: picked(traced.inputs.get(name), kept_masks(traced, kept)) for name, _, _ in seen}
    moved = torch.zeros(8)
    for name, inputs, output in seen:
        layer = copy.deepcopy(model.get_submodule(name))
        layer._forward_hooks.clear()
        whole, weight = layer(inputs), layer.weight.detach()
        if change.kind == "prune_rate":
            if masks[name] is None:
                continue
            stays = masks[name].view(-1, 1, 1) if isinstance(layer, nn.Conv2d) else masks[name]
            d = layer(inputs * stays) - whole
        elif name != change.name:
            continue
        else:
            role = change.kind.removesuffix("_bits")
            rounded = grid(layer, role, int(change.value), "lsq", {})
            # A layer that is used again has one grid all the same.
            read = torch.cat([read.flatten() for used, read, _ in seen if used == name])
            rounded.calibrate(weight if role == "weight" else read)
            if role == "weight":
                layer.weight.copy_(rounded(weight))
            d = layer(inputs if role == "weight" else rounded(inputs)) - whole
            fitted = isinstance(layer, nn.Conv2d) and name not in BARE
            for channel in range(d.shape[1]) if fitted else ():
                basis = torch.stack([whole[:, channel].flatten(), torch.ones(whole[:, channel].numel())], 1).double()
                one = d[:, channel].flatten().double()
                left = one - basis @ torch.linalg.lstsq(basis, one[:, None]).solution[:, 0]
                d[:, channel] = left.view_as(d[:, channel])
        moved += (output.grad * d.detach()).flatten(1).sum(1)
    return float(moved.double().square().mean() / 2)


@pytest.mark.parametrize("name", ["digits_net", "concat_flatten", "grouped"])
def test_costs_are_those_of_the_changes_made_in_full(name: str) -> None:
    model, shape = nets.make(name)
    changes = _all_changes(model, shape)
    found = _expected(copy.deepcopy(model), shape, changes)
    wanted = [_by_hand(copy.deepcopy(model), shape, change) for change in changes]
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-12)
    assert max(wanted) > 1e-6


class _ChannelsLast(nn.Module):
    """Linear layers that see (height, width, channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up, self.down, self.head = (
            nn.Conv2d(3, 6, 3),
            nn.Linear(6, 12),
            nn.Linear(12, 6),
            nn.Linear(6, 4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.down(self.up(self.conv(x).permute(0, 2, 3, 1)).relu()).mean((1, 2)))


def test_channels_that_come_last_are_priced_as_channels() -> None:
    torch.manual_seed(0)
    model, shape = _ChannelsLast(), (3, 8, 8)
    changes = _all_changes(model, shape)
    assert ("prune_rate", "up") in [(change.kind, change.name) for change in changes]
    found = _expected(copy.deepcopy(model), shape, changes)
    wanted = [_by_hand(copy.deepcopy(model), shape, change) for change in changes]
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-12)


def test_a_batch_more_is_averaged_in() -> None:
    model, shape = nets.make("digits_net")
    changes = [Change("weight_bits", "linear", 2)]
    (first,), (both,) = _expected(model, shape, changes), _expected(model, shape, changes, batches=2)
    of_the_second = 2 * both - first
    assert of_the_second > 0
    assert of_the_second != pytest.approx(first)


def test_the_network_is_left_as_it_was() -> None:
    model, shape = nets.make("digits_net")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = nets.batch(shape)
    outputs = model.eval()(images)
    _expected(model, shape, _all_changes(model, shape))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(model(images), outputs)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Context:
    folder = tmp_path_factory.mktemp("trained")
    spec = small_spec(
        baseline={"epochs": 8, "lr": 0.1, "batch_size": 32},
        model={"name": "digits_net", "options": {"width": 8, "blocks": 1}},
        data={"test_images": 300, "score_images": 400},
    )
    dataset, splits = small_data(spec)
    train_baseline(spec, dataset, splits, folder, torch.device("cpu"))
    return small_context(folder, spec)


def test_what_is_expected_ranks_changes_as_measuring_them_does(trained: Context) -> None:
    layers = [layer.name for layer in trained.traced.info.layers]
    changes = [Change("weight_bits", name, 2) for name in layers]
    changes += [
        Change("prune_rate", group.name, rate)
        for group in trained.traced.info.groups
        if group.prunable
        for rate in (0.25, 0.5, 0.75)
    ]
    item = Item(-1, "gradients", Plan(), 0, changes=tuple(changes))
    expected = evaluate(trained, item).expected
    measured = []
    for change in changes:
        plan = (
            Plan(groups={change.name: change.value})
            if change.kind == "prune_rate"
            else Plan(layers={change.name: LayerPlan(weight_bits=int(change.value))})
        )
        module = compressed(trained, plan)
        calibrate(trained, module, 200)
        measured.append(evaluate_model(module, trained.score)[1])
    assert kendalltau(expected, measured).statistic > 0.4


def test_the_same_item_gives_the_same_numbers(trained: Context) -> None:
    item = Item(-1, "gradients", Plan(), 0, changes=(Change("act_bits", "linear", 2),))
    first, second = evaluate(trained, item), evaluate(trained, item)
    assert first.expected == second.expected
    assert first.accuracy is None
    assert first.seconds["gradients"] > 0


def test_a_probe_is_scored_after_calibration_and_never_trained(tmp_path: Path) -> None:
    plan = Plan(layers={"linear": LayerPlan(weight_bits=2)})
    spec = small_spec(rungs=({"kind": "fine_tune", "steps": 4, "batch_size": 32},))
    result = evaluate(small_context(tmp_path, spec), Item(-2, "probe", plan, 0))
    assert result.accuracy is not None
    assert "train" not in result.seconds
    assert result.weights is None
