"""Masks: which weights go, that they stay away through training and files, and that costs know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pqsearch.errors import UserError
from pqsearch.plan import Change, LayerPlan, Plan
from pqsearch.rebuild import module_of
from pqsearch.sparsity import pattern_of
from search_spaces.space import Space
from tests.trainers.nets import batch, make
from trainers.build import build_model
from trainers.compress import calibrate_steps, compress, step_parameters
from trainers.exporters.torch_weights import export
from trainers.layers import trace
from trainers.measure import measure
from trainers.prune import channel_scores
from trainers.sensitivity import expected_losses
from trainers.sparse import mask_of

PATTERNS = ("layer", "filter", "2:4")
SHAPES = [(6, 5, 3, 3), (4, 1, 3, 3), (5, 16), (4, 3, 1, 1)]


def _weight(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _mask(weight: Tensor, share: float, pattern: str) -> Tensor:
    found = pattern_of(pattern)
    assert found is not None
    return mask_of(weight, share, found)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_smallest_weights_of_a_layer_go(shape: tuple[int, ...]) -> None:
    weight = _weight(*shape)
    mask = _mask(weight, 0.5, "layer")
    assert int((~mask).sum()) == weight.numel() // 2
    assert weight[mask].abs().min() > weight[~mask].abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_number_goes_in_every_filter(shape: tuple[int, ...]) -> None:
    weight = _weight(*shape)
    mask = _mask(weight, 0.75, "filter")
    for row, keep in zip(weight.flatten(1), mask.flatten(1), strict=True):
        assert int((~keep).sum()) == int(row.numel() * 0.75)
        assert not bool((~keep).any()) or row[keep].abs().min() > row[~keep].abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_two_of_every_four_weights_stay_with_input_channels_innermost(shape: tuple[int, ...]) -> None:
    weight = _weight(*shape)
    mask = _mask(weight, 0.5, "2:4")
    for number in range(shape[0]):
        at = (
            [(y, x, c) for y in range(shape[2]) for x in range(shape[3]) for c in range(shape[1])]
            if len(shape) > 2
            else []
        )
        row = [float(weight[number, c, y, x]) for y, x, c in at] or weight[number].tolist()
        keep = [bool(mask[number, c, y, x]) for y, x, c in at] or mask[number].tolist()
        for start in range(0, len(row) // 4 * 4, 4):
            largest = sorted(range(start, start + 4), key=lambda k: -abs(row[k]))[:2]
            assert [k for k in range(start, start + 4) if keep[k]] == sorted(largest)
        assert all(keep[len(row) // 4 * 4 :])


def test_equal_weights_go_from_the_first_and_a_share_in_decimals_is_exact() -> None:
    assert _mask(torch.ones(1, 4), 0.5, "layer").tolist() == [[False, False, True, True]]
    assert int((~_mask(_weight(1, 100), 0.29, "layer")).sum()) == 29
    assert int(_mask(_weight(3, 1), 0.99, "filter").sum()) == 3  # something stays of every filter


def test_a_share_that_the_pattern_does_not_have_is_refused_by_name() -> None:
    model, shape = make("digits_net")
    plan = Plan(layers={"linear": LayerPlan(sparsity=0.75)})
    with pytest.raises(
        UserError, match=r"^plan.layers.linear.sparsity: must be 0 or 0\.5 with the pattern 2:4, got 0\.75;"
    ):
        compress(model, plan, input_shape=shape, sparsity_pattern="2:4")
    with pytest.raises(UserError, match=r"^sparsity_pattern: must be .* got '2:3'$"):
        compress(model, plan, input_shape=shape, sparsity_pattern="2:3")


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", ["digits_net", "concat_flatten", "grouped", "mobilenet_v2"])
def test_costs_of_sparse_plans_are_those_measured_on_the_module(name: str, pattern: str) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    shares = [0.0, 0.5] if pattern == "2:4" else [0.0, 0.3, 0.5, 0.9]
    space = Space(
        traced.info, prune_rate=[0.0, 0.25, 0.5], weight_bits=[1, 4, 32], act_bits=[8], sparsity=shares,
        sparsity_pattern=pattern_of(pattern) or pytest.fail(),
    )  # fmt: skip
    whole = measure(model, shape)
    rng = np.random.default_rng(0)
    for _ in range(3):
        plan = space.decode(tuple(int(rng.integers(levels)) for levels in space.levels))
        found = measure(compress(model, plan, traced=traced, sparsity_pattern=pattern), shape)
        costs = space.costs_of(plan)
        assert costs["size_bytes"] == found["size_bytes"]
        for key, ratio, of in (
            ("nonzero_params", "nonzero_params", "params"), ("sparse_flops", "sparse_macs", "macs"), ("flops", "macs", "macs"),
        ):  # fmt: skip
            assert costs[key] == pytest.approx(found[ratio] / whole[of], rel=1e-12), key


@pytest.mark.parametrize("bits", [1, 3, 32])
def test_zeros_stay_zeros_through_training_in_the_forward_pass_and_in_the_file(bits: int, tmp_path: Path) -> None:
    model, shape = make("digits_net")
    layers = {layer.name: LayerPlan(bits, bits, 0.5) for layer in trace(model, shape).info.layers}
    plan = Plan(layers=layers)
    sparse = compress(model, plan, input_shape=shape, sparsity_pattern="filter")
    images, labels = batch(shape, 8), torch.arange(8) % 5
    calibrate_steps(sparse, images)
    sparse.train()
    optimizer = torch.optim.SGD(sparse.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    before = {name: tensor.clone() for name, tensor in sparse.state_dict().items() if name.endswith("weight_mask")}
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(sparse(images), labels).backward()
        optimizer.step()
    sparse.eval()
    seen: list[tuple[Tensor, Tensor]] = []

    def note(layer: Any, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        """What the layer gave, beside what its masked and rounded weights give."""
        weight = layer.weight if bits == 32 else layer.weight_quantizer(layer.weight)
        inputs = arguments[0] if bits == 32 else layer.act_quantizer(arguments[0])
        seen.append((output, functional.linear(inputs, weight * layer.weight_mask, layer.bias)))

    handle = sparse.get_submodule("linear").register_forward_hook(note)
    expected = sparse(images)
    handle.remove()
    assert torch.allclose(*seen[0], atol=1e-6)
    for name, mask in before.items():
        layer = sparse.get_submodule(name.rpartition(".")[0])
        assert torch.equal(layer.weight_mask, mask) and int((~mask).sum()) > 0  # type: ignore[arg-type]
        assert not bool(layer.weight[~mask].any())  # type: ignore[index]
    (path,) = export(sparse, tmp_path)
    fresh = compress(make("digits_net")[0], plan, input_shape=shape)
    fresh.load_state_dict(torch.load(path, weights_only=True))
    assert torch.equal(fresh.eval()(images), expected)


def test_a_recipe_with_and_without_a_pattern_rebuilds_the_masks(tmp_path: Path) -> None:
    options = {"width": 4, "blocks": 1}
    data = {
        "model": {"name": "digits_net", "options": options, "classes": list(range(10)), "input_shape": [1, 8, 8]},
        "quantizer": {"name": "lsq", "options": {}},
        "sparsity_pattern": "2:4",
    }
    plan = Plan(layers={"conv1": LayerPlan(8, 8, 0.5), "linear": LayerPlan(32, 32, 0.5)})
    model = compress(
        build_model("digits_net", options, 10, (1, 8, 8)), plan, input_shape=(1, 8, 8), sparsity_pattern="2:4"
    )
    images = batch((1, 8, 8), 4)
    calibrate_steps(model, images)
    (path,) = export(model, tmp_path)
    expected = model.eval()(images)
    for recipe in (data, {key: value for key, value in data.items() if key != "sparsity_pattern"}):
        read = Plan.from_json(json.loads(json.dumps(plan.to_json())))
        assert torch.equal(module_of(read, recipe, path)(images), expected)


def test_pruned_channels_go_first_and_the_original_is_left_alone() -> None:
    model, shape = make("digits_net")
    traced = trace(model, shape)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    group = next(group for group in traced.info.groups if group.prunable)
    found = compress(model, Plan({group.name: 0.5}, {group.name: LayerPlan(sparsity=0.5)}), traced=traced)
    layer = found.get_submodule(group.name)
    assert len(layer.weight) == group.channels // 2  # type: ignore[arg-type]
    assert int((~layer.weight_mask).sum()) == layer.weight.numel() // 2  # type: ignore[operator]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert step_parameters(found) == []


def test_more_zeros_are_expected_to_cost_more() -> None:
    model, shape = make("digits_net")
    traced = trace(model, shape)
    names = [layer.name for layer in traced.info.layers]
    none, some, many = (
        sum(
            expected_losses(
                model.eval().requires_grad_(False),
                traced,
                channel_scores(model, traced),
                [batch(shape, 8)],
                [Change("sparsity", name, share) for name in names],
                quantizer="lsq",
                quantizer_options={},
            )
        )
        for share in (0.0, 0.3, 0.9)
    )
    assert none == 0 < some < many
