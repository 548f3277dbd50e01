from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.plan import GroupInfo, LayerInfo, LayerPlan, ModelInfo, Plan, Source
from search_spaces.rows import Shapes
from search_spaces.space import Space
from tests.search_spaces.infos import IMAGE, conv, infos, random_genes, tangled

HALVED = Plan(
    groups={"stem": 0.5, "grouped": 1 / 3, "side": 0.5},
    layers={
        "stem": LayerPlan(8, 8),
        "depthwise": LayerPlan(4, 4),
        "grouped": LayerPlan(3, 3),
        "side": LayerPlan(2, 32),
        "head": LayerPlan(8, 5),
    },
)
FLOAT_MACS = 6912 + 2304 + 6912 + 384 + 640
FLOAT_PARAMS = 108 + 36 + 108 + 6 + 640 + (2 + 5) + 2 * (4 + 8) + 7


def _space(info: ModelInfo, **options: object) -> Space:
    given: dict[str, object] = {"prune_rate": [0.0, 0.5], "weight_bits": [2, 4], "act_bits": [2, 4]}
    return Space(info, **{**given, **options})  # type: ignore[arg-type]


def test_costs_of_a_pruned_net_with_depthwise_grouped_concat_and_flatten_are_those_counted_by_hand() -> None:
    # Kept: stem 2 of 4, grouped 4 of 6, side 1 of 2; the head reads (4 + 1) channels x 16 positions.
    weights = {"stem": 2 * 3 * 9, "depthwise": 2 * 9, "grouped": 4 * 1 * 9, "side": 1 * 3, "head": 5 * 80}
    macs = {"stem": 3456, "depthwise": 1152, "grouped": 2304, "side": 192, "head": 400}
    inputs = {"stem": 192, "depthwise": 128, "grouped": 128, "side": 192, "head": 80}
    bits = HALVED.layers
    costs = _space(tangled()).costs_of(HALVED)
    assert costs["flops"] == sum(macs.values()) / FLOAT_MACS == 7504 / 17152
    assert costs["params"] == (sum(weights.values()) + (1 + 5) + 2 * (2 + 5) + 7) / FLOAT_PARAMS == 538 / 936
    assert costs["weight_bits"] == sum(weights[name] * bits[name].weight_bits for name in weights) / 511 == 3818 / 511
    assert costs["act_bits"] == sum(inputs[name] * bits[name].act_bits for name in inputs) / 720 == 8976 / 720
    assert costs["bitops"] == pytest.approx(288640 / (FLOAT_MACS * 1024), rel=1e-12)
    packed = 54 + 9 + 14 + 1 + 400  # 36 weights of 3 bits: 14 bytes; 3 weights of 2 bits: 1
    steps = (2 + 1) + (2 + 1) + (4 + 1) + (1 + 0) + (5 + 1)  # a float input has no step
    assert costs["size_bytes"] == packed + 4 * (steps + (1 + 5) + (2 + 2) * (2 + 5) + 7)


def test_per_tensor_steps_cost_one_number_a_layer() -> None:
    per_channel = _space(tangled()).costs_of(HALVED)["size_bytes"]
    per_tensor = _space(tangled(), per_channel_steps=False).costs_of(HALVED)["size_bytes"]
    assert per_channel - per_tensor == 4 * ((2 + 2 + 4 + 1 + 5) - 5)


def test_the_float_plan_costs_the_baseline() -> None:
    costs = _space(tangled()).costs_of(Plan())
    assert costs["flops"] == costs["params"] == costs["bitops"] == 1
    assert costs["weight_bits"] == costs["act_bits"] == 32
    # 32-bit weights need no steps: four bytes a parameter, and the statistics of 12 channels.
    assert costs["size_bytes"] == 4 * (FLOAT_PARAMS + 2 * 12)


def test_costs_count_the_statistics_of_a_norm_without_affine_parameters_only_in_bytes() -> None:
    info = tangled()
    bare = ModelInfo(info.layers, info.groups, (), info.other_params, info.input_shape)
    space, other = _space(info), _space(bare)
    for name in ("flops", "weight_bits", "act_bits", "bitops"):
        assert space.costs_of(HALVED)[name] == other.costs_of(HALVED)[name]
    assert space.costs_of(HALVED)["size_bytes"] - other.costs_of(HALVED)["size_bytes"] == 4 * 4 * (2 + 5)


@pytest.mark.parametrize(("groups", "kernel"), [(3, 25), (5, 49), (7, 9), (17, 25)])
def test_weights_of_grouped_convolutions_are_whole_numbers_whatever_the_groups(groups: int, kernel: int) -> None:
    channels = 2 * groups
    layers = (
        conv("stem", (IMAGE,), 0, channels, 1, 1, 4, False),
        conv("grouped", (Source(0, channels),), 1, channels, kernel, groups, 4, False),
    )
    table = tuple(GroupInfo(name, channels, groups, (name,), True) for name in ("stem", "grouped"))
    bits = np.full((2, 2), 8)
    rows = Shapes(ModelInfo(layers, table, (), 0, (3, 2, 2)), per_channel_steps=True).rows(
        np.array([[channels, channels], [groups, channels]]), bits, bits
    )
    assert rows.weights[:, 1].tolist() == [channels * 2 * kernel, channels * 1 * kernel]


def test_a_layer_that_reads_the_same_group_twice_reads_all_of_it() -> None:
    doubled = (Source(0, 4), Source(0, 4))
    layers = (conv("stem", (IMAGE,), 0, 4, 1, 1, 4, False), conv("next", doubled, 1, 2, 1, 1, 4, False))
    groups = (GroupInfo("stem", 4, 1, ("stem",), True), GroupInfo("next", 2, 1, ("next",), True))
    space = _space(ModelInfo(layers, groups, (), 0, (3, 2, 2)))
    assert space.costs_of(Plan({"stem": 0.25}))["flops"] == (3 * 3 + 6 * 2) / (3 * 4 + 8 * 2)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(infos(), st.integers(0, 999))
def test_costs_of_a_population_equal_those_of_its_plans_one_by_one(info: ModelInfo, seed: int) -> None:
    limits = {"flops": 1.0, "params": 1.0, "weight_bits": 32, "act_bits": 32, "bitops": 1.0, "size_bytes": 1e9}
    limits |= {"nonzero_params": 1.0, "sparse_flops": 1.0}
    space = _space(info, budgets=limits)
    genes = random_genes(space, 5, seed)
    costs = space.costs(genes)
    assert costs.shape == (5, 8)
    for row, plan in zip(costs, genes, strict=True):
        assert dict(zip(space.budgets, row, strict=True)) == space.costs_of(space.decode(tuple(map(int, plan))))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(infos())
def test_flops_and_weights_match_a_count_over_single_channels(info: ModelInfo) -> None:
    space = _space(info)
    plan = space.decode(tuple(0 for _ in space.levels))
    kept = [round(group.channels * (1 - plan.prune_rate(group.name))) for group in info.groups]

    def read(layer: LayerInfo) -> int:
        return sum(
            (source.channels if source.group < 0 else kept[source.group]) * source.repeat for source in layer.inputs
        )

    def weights(layer: LayerInfo) -> int:
        split = kept[layer.output] if layer.groups == layer.in_channels == layer.out_channels > 1 else layer.groups
        return kept[layer.output] * (read(layer) // split) * layer.kernel_size

    macs = sum(weights(layer) * layer.out_size for layer in info.layers)
    whole = sum(
        layer.out_channels * layer.in_channels // layer.groups * layer.kernel_size * layer.out_size
        for layer in info.layers
    )
    assert space.costs_of(plan)["flops"] == macs / whole
    bits = sum(weights(layer) * plan.layer(layer.name).weight_bits for layer in info.layers)
    assert space.costs_of(plan)["weight_bits"] == bits / sum(map(weights, info.layers))


def test_costs_do_not_depend_on_the_other_plans_of_a_large_population() -> None:
    space = _space(tangled(), budgets={"flops": 1.0, "size_bytes": 1e9})
    genes = random_genes(space, 2000)
    assert np.array_equal(space.costs(genes)[777], space.costs(genes[777:778])[0])
