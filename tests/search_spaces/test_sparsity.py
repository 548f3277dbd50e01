"""Sparsity as a knob: which layers have it, what zeros count in, and repair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.plan import LayerPlan, ModelInfo, Plan
from pqsearch.problem import uniform_genes
from pqsearch.sparsity import Pattern, pattern_of
from search_spaces.space import Space
from tests.search_spaces.infos import chain, infos, random_genes, tangled

SHARES = [0.0, 0.5, 0.75]
PATTERNS = ("layer", "filter", "2:4")


def _space(info: ModelInfo, pattern: str = "layer", **options: object) -> Space:
    given: dict[str, object] = {
        "prune_rate": [0.0, 0.25, 0.5],
        "weight_bits": [2, 4, 8],
        "act_bits": [4, 8],
        "sparsity": SHARES if pattern != "2:4" else [0.0, 0.5],
        "sparsity_pattern": pattern_of(pattern),
    }
    return Space(info, **{**given, **options})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(infos(), st.sampled_from(PATTERNS), st.integers(0, 999))
def test_genes_come_back_and_cost_what_their_plans_do(info: ModelInfo, pattern: str, seed: int) -> None:
    names = ("nonzero_params", "sparse_flops", "flops", "size_bytes")
    space = _space(info, pattern, budgets=dict.fromkeys(names, 1.0) | {"size_bytes": 1e9})
    genes = random_genes(space, 5, seed)
    for row, costs in zip(genes, space.costs(genes), strict=True):
        plan = space.decode(tuple(map(int, row)))
        assert space.encode(plan) == tuple(map(int, row))
        assert space.table.hash(tuple(map(int, row))) == plan.hash
        of_plan = space.costs_of(plan)
        assert costs.tolist() == [of_plan[name] for name in names]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(infos(), st.sampled_from(PATTERNS), st.sampled_from([0.3, 0.6]), st.integers(0, 999))
def test_repair_holds_budgets_of_zeros_and_leaves_no_room(
    info: ModelInfo, pattern: str, share: float, seed: int
) -> None:
    budgets = {}
    for name in ("nonzero_params", "sparse_flops"):
        low, high = _space(info, pattern, budgets={name: 1.0}).reach()[name]
        budgets[name] = low + (share if name == "nonzero_params" else 0.8) * (high - low)
    space = _space(info, pattern, budgets={**budgets, "weight_bits": 6})
    found = space.repair(random_genes(space, 20, seed))
    assert (space.costs(found) <= space.limits * (1 + 1e-9)).all()
    assert np.array_equal(space.repair(found), found)
    for knob, levels in enumerate(space.levels):
        more = found[found[:, knob] < levels - 1]
        more[:, knob] += 1
        assert not len(more) or not (space.costs(more) <= space.limits).all(1).any()


def test_zeros_count_in_costs_of_their_own_and_dense_tensors_in_all_others() -> None:
    space = _space(tangled())
    dense = Plan({}, {name: LayerPlan(4, 4) for name in ("stem", "depthwise", "grouped", "side", "head")})
    sparse = Plan({}, {name: LayerPlan(4, 4, 0.5) for name in dense.layers})
    before, after = space.costs_of(dense), space.costs_of(sparse)
    assert {name for name in before if before[name] != after[name]} == {"nonzero_params", "sparse_flops"}
    assert before["nonzero_params"] == before["params"] and before["sparse_flops"] == before["flops"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        # Weights of a filter: stem 27, depthwise 9, grouped 18, side 3, head 128; of 4, 4, 6, 2 and 5 filters.
        ("layer", [54, 18, 54, 3, 320]),
        ("filter", [4 * 14, 4 * 5, 6 * 9, 2 * 2, 5 * 64]),
        ("2:4", [4 * (27 - 12), 4 * (9 - 4), 6 * (18 - 8), 2 * 3, 5 * 64]),
    ],
)
def test_zeros_are_those_counted_by_hand(pattern: str, left: list[int]) -> None:
    costs = _space(tangled(), pattern).costs_of(
        Plan({}, {name: LayerPlan(sparsity=0.5) for name in ("stem", "depthwise", "grouped", "side", "head")})
    )
    others = (2 + 5) + 2 * (4 + 8) + 7
    assert costs["nonzero_params"] == (sum(left) + others) / (108 + 36 + 108 + 6 + 640 + others)
    macs = [64 * number for number in left[:4]] + [left[4]]
    assert costs["sparse_flops"] == sum(macs) / (6912 + 2304 + 6912 + 384 + 640)


def test_sparsity_is_of_what_pruning_leaves() -> None:
    info = chain((8, 8))
    costs = _space(info).costs_of(Plan({"conv0": 0.5}, {"conv1": LayerPlan(sparsity=0.75)}))
    dense = _space(info).costs_of(Plan({"conv0": 0.5}))
    whole = 3 * 8 * 9 + 8 * 8 * 9 + 8 * 5 + 5 + 2 * 16
    assert dense["nonzero_params"] - costs["nonzero_params"] == pytest.approx(0.75 * 4 * 8 * 9 / whole)


def test_layers_that_stay_dense_have_no_knob_and_pins_and_patterns_count() -> None:
    space = _space(
        chain((8, 8, 8)),
        sparsity=[0.0],
        layers={"conv*": {"sparsity": [0.5, 0.0]}},
        pin={"conv0": {"sparsity": 0.0}, "head": {"sparsity": 0.75}},
    )
    found = {knob.name: knob.values for knob in space.knobs if knob.kind == "sparsity"}
    assert found == {"conv1": (0.5, 0.0), "conv2": (0.5, 0.0), "head": (0.75,)}
    assert "sparsity" not in _space(chain(), sparsity=[0.0]).kinds


def test_uniform_plans_have_one_sparsity_everywhere() -> None:
    space = _space(chain((16, 16, 16)), budgets={"nonzero_params": 0.3}, prune_rate=[0.0])
    plans = [space.decode(tuple(map(int, row))) for row in uniform_genes(space)]
    assert [{layer.sparsity for layer in plan.layers.values()} for plan in plans] == [{0.75}]


def test_patterns_are_read_as_specs_write_them() -> None:
    assert pattern_of("layer") == Pattern() and pattern_of("filter") == Pattern(True)
    assert pattern_of("2:4") == Pattern(True, 2, 4) and Pattern(True, 1, 4).share == 0.75
    assert [pattern_of(text) for text in ("4:4", "0:4", "2:5", "2:64", "2 : 4", "rows")] == [None] * 6
