"""What every file in `trainers/models/` must do."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pqsearch import rooms
from pqsearch.plan import Plan
from pqsearch.spec_network import FixedPointSpec
from search_spaces.space import Space
from tests.contracts.small_models import SMALL, UNPRUNED
from tests.trainers.small import difference, shaken
from tests.trainers.witnesses import thop_macs, torch_flops
from trainers.build import build_model, load_weights
from trainers.compress import calibrate_steps, compress
from trainers.coupling import NORMS, Traced
from trainers.exporters.torch_weights import export
from trainers.fixed_point.ahead import integer_problem
from trainers.fixed_point.convert import calibrate, fixed_point
from trainers.fixed_point.integer import IntegerNetwork, integer_layers
from trainers.fixed_point.values import NoIntegerForm
from trainers.layers import trace
from trainers.measure import measure, measure_layers
from trainers.merging import merge_batch_norm

CLASSES, SHAPE = 7, (3, 32, 32)
CASES = [(name, place) for name, builds in SMALL.items() for place in range(len(builds))]

each = pytest.mark.parametrize(("name", "place"), CASES)


@functools.cache
def _net(name: str, place: int) -> tuple[nn.Module, Traced]:
    """Nobody may change it."""
    model = _build(name, SMALL[name][place])
    return model, trace(model, SHAPE)


def _build(name: str, options: dict[str, Any], shape: tuple[int, ...] = SHAPE, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(name, options, CLASSES, shape).eval()


def _images(number: int = 2, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(1))


def _plan(traced: Traced, seed: int) -> tuple[Space, Plan]:
    space = Space(traced.info, prune_rate=[0.0, 0.25, 0.5], weight_bits=[2, 4, 8, 32], act_bits=[3, 8, 32])
    rng = np.random.default_rng(seed)
    return space, space.decode(tuple(int(rng.integers(levels)) for levels in space.levels))


def test_every_file_is_tried() -> None:
    assert tuple(sorted(SMALL)) == rooms.names("models")


@each
def test_it_maps_images_to_one_finite_logit_per_class(name: str, place: int) -> None:
    output = _net(name, place)[0](_images())
    assert output.shape == (2, CLASSES) and bool(output.isfinite().all())


@pytest.mark.parametrize("name", SMALL)
def test_it_takes_grey_images(name: str) -> None:
    shape = (1, *SHAPE[1:])
    assert _build(name, SMALL[name][0], shape)(_images(shape=shape)).shape == (2, CLASSES)


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_its_weights(name: str) -> None:
    first, second = _net(name, 0)[0].state_dict(), _build(name, SMALL[name][0]).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@each
def test_its_loss_reaches_every_parameter(name: str, place: int) -> None:
    model = _build(name, SMALL[name][place]).train()
    model(_images(4)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@each
def test_its_channels_can_be_cut_or_it_says_why_not(name: str, place: int) -> None:
    info = _net(name, place)[1].info
    if name not in UNPRUNED:
        prunable = sum(group.channels for group in info.groups if group.prunable)
        assert prunable > 0.5 * sum(group.channels for group in info.groups)
    reasons = [group.reason for group in info.groups if not group.prunable]
    assert all(reasons)  # at least the classes stay
    if name in UNPRUNED:
        assert any(UNPRUNED[name] in reason for reason in reasons)


@each
def test_an_empty_plan_is_the_identity(name: str, place: int) -> None:
    model, traced = _net(name, place)
    assert torch.equal(compress(model, Plan(), traced=traced)(_images()), model(_images()))


@each
def test_batch_norm_is_merged_into_its_layers_and_changes_nothing(name: str, place: int) -> None:
    model = shaken(_build(name, SMALL[name][place]))
    merged = merge_batch_norm(model, SHAPE)
    assert difference(model, merged.model, SHAPE) < 1e-9
    norms = [part for part, module in model.named_modules() if isinstance(module, NORMS)]
    assert sorted([*merged.into, *merged.left]) == sorted(norms)


@each
def test_a_plan_costs_what_is_measured_after_it_was_applied(name: str, place: int) -> None:
    model, traced = _net(name, place)
    space, plan = _plan(traced, place)
    before, after = measure(model, SHAPE), measure(compress(model, plan, traced=traced), SHAPE)
    costs = space.costs_of(plan)
    for key in ("weight_bits", "act_bits", "size_bytes"):
        assert costs[key] == after[key], key
    for key, measured in (("flops", "macs"), ("params", "params"), ("bitops", "bitops")):
        assert costs[key] == pytest.approx(after[measured] / before[measured], rel=1e-12), key


@each
def test_torch_and_thop_count_what_the_meter_does(name: str, place: int) -> None:
    model = _net(name, place)[0]
    macs = sum(layer.macs for layer in measure_layers(model, SHAPE))
    assert torch_flops(model, SHAPE) == 2 * macs and thop_macs(model, SHAPE) == macs


@each
def test_pruned_and_quantised_it_trains_and_its_files_rebuild_it(name: str, place: int, tmp_path: Path) -> None:
    model, traced = _net(name, place)
    _, plan = _plan(traced, place + 10)
    compressed = compress(model, plan, traced=traced)
    calibrate_steps(compressed, _images(4))
    compressed.train()
    compressed(_images(4)).square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in compressed.parameters() if p.grad is not None)
    (path,) = export(compressed.eval(), tmp_path)
    rebuilt = compress(
        _build(name, SMALL[name][place], seed=1),
        Plan.from_json(json.loads(json.dumps(plan.to_json()))),
        input_shape=SHAPE,
    )
    load_weights(rebuilt, path)
    assert torch.equal(rebuilt(_images()), compressed(_images()))


@pytest.mark.parametrize("name", SMALL)
def test_its_options_are_documented_and_have_defaults(name: str) -> None:
    for option in rooms.signature("models", name):
        assert not option.required
        assert option.doc or option.choices


#: What these do between their layers has no exact form in integers.
NO_INTEGERS = {
    "mobilenet_v3": "hardswish has no integer form",
    "senet": "sigmoid has no integer form",
    "shufflenet_g": "adding behind an average over 9 places",
}


@pytest.mark.parametrize("name", SMALL)
def test_in_integers_it_answers_as_in_fixed_point_or_is_refused_by_name(name: str) -> None:
    model = shaken(_build(name, SMALL[name][0])).float()
    problem = integer_problem(model, SHAPE)
    assert (problem or "").startswith(NO_INTEGERS.get(name, "")) and (problem is None) == (name not in NO_INTEGERS)
    network = fixed_point(model, SHAPE, FixedPointSpec())
    calibrate(network, _images())
    network = network.double()
    integers, images = IntegerNetwork(network, integer_layers(network)), _images(1)
    if name in NO_INTEGERS:
        with pytest.raises(NoIntegerForm, match=NO_INTEGERS[name]):
            integers(images)
        return
    with torch.no_grad():
        assert torch.equal(integers(images), network(images.double()))
