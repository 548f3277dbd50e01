"""What every budget keeps to; a new file in the room is tested by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.plan import ModelInfo, Plan
from search_spaces.costs import Costs, Decoded
from search_spaces.rows import Shapes
from search_spaces.space import Space
from tests.search_spaces.infos import chain, infos, random_genes, tangled
from tests.search_spaces.latencies import table_of

BUDGETS = rooms.names("budgets")
every_budget = pytest.mark.parametrize("name", BUDGETS)


def _space(info: ModelInfo, budget: str, limit: float = 1e15) -> Space:
    return Space(
        info,
        prune_rate=[0.0, 0.25, 0.5, 0.75],
        weight_bits=[2, 4, 8],
        act_bits=[2, 4, 8],
        pin={info.layers[0].name: {"weight_bits": 8, "act_bits": 8}},
        budgets={budget: limit},
        latency=table_of(info),
    )


def test_the_budgets_that_specs_may_name_are_all_there() -> None:
    assert {"act_bits", "bitops", "flops", "latency_ms", "params", "size_bytes", "weight_bits"} <= set(BUDGETS)


@every_budget
def test_a_budget_says_what_it_counts_in_which_unit_and_within_which_limits(name: str) -> None:
    constants = rooms.constants("budgets", name)
    assert rooms.describe("budgets", name).endswith(".")
    assert constants["UNIT"] and constants["LOW"] < constants["HIGH"]
    assert isinstance(constants["RELATIVE"], bool)
    assert rooms.signature("budgets", name) == ()


@every_budget
def test_terms_are_whole_numbers_one_a_plan_and_row(name: str) -> None:
    shapes = Shapes(tangled(), per_channel_steps=True, latency=table_of(tangled()))
    kept = np.array([[2, 4, 1, 5], [4, 6, 2, 5]])
    bits = np.array([[8, 3, 2, 5, 8], [32, 32, 32, 32, 32]])
    for part in rooms.load("budgets", name)(shapes.rows(kept, bits, bits)):
        if part is not None:
            assert part.shape == (2, 5 + 2 + 1)
            assert (part >= 0).all() and np.array_equal(part, np.round(part))


@every_budget
def test_the_float_baseline_costs_one_where_the_budget_is_a_share_of_it(name: str) -> None:
    cost = _space(tangled(), name).costs_of(Plan())[name]
    assert cost == 1 if rooms.constants("budgets", name)["RELATIVE"] else cost > 0


@every_budget
@settings(max_examples=25, deadline=None, derandomize=True)
@given(infos(), st.integers(0, 999))
def test_a_knob_changes_only_the_rows_and_the_budgets_it_is_said_to_touch(
    name: str, info: ModelInfo, seed: int
) -> None:
    space = _space(info, name)
    costs = Costs(info, [name], per_channel_steps=True, latency=table_of(info))
    genes = random_genes(space, 1, seed)
    before = space.expand(genes)
    top, bottom = costs.sums(before)
    for knob, levels in enumerate(space.levels):
        moved = genes.copy()
        moved[0, knob] = (moved[0, knob] + 1) % levels
        after = space.expand(moved)
        part = costs.shapes.part(space.rows_of(knob))

        def of_part(plans: Decoded, part: Shapes = part) -> tuple[np.ndarray, np.ndarray]:
            rows = part.rows(
                plans.kept[:, part.groups], plans.weight_bits[:, part.layers], plans.act_bits[:, part.layers]
            )
            return costs.sum(rows)

        old, new, whole = of_part(before), of_part(after), costs.sums(after)
        assert top + new[0] - old[0] == whole[0] and bottom + new[1] - old[1] == whole[1]
        if not costs.changed_by(space.kinds[knob]):
            assert (whole[0], whole[1]) == (top, bottom)


@every_budget
@settings(max_examples=25, deadline=None, derandomize=True)
@given(infos(), st.integers(0, 999))
def test_more_bits_never_cost_less(name: str, info: ModelInfo, seed: int) -> None:
    space = _space(info, name)
    genes = random_genes(space, 10, seed)
    base = space.costs(genes)
    for knob, kind in enumerate(space.kinds):
        if kind != "prune_rate":
            raised = genes.copy()
            raised[:, knob] = np.minimum(raised[:, knob] + 1, space.levels[knob] - 1)
            assert (space.costs(raised) >= base).all()


@every_budget
def test_a_plan_repaired_under_the_budget_alone_holds_it_and_is_close_to_it(name: str) -> None:
    info = chain((16, 32, 32, 32))
    smallest, largest = _space(info, name).reach()[name]
    limit = smallest + 0.4 * (largest - smallest)
    space = _space(info, name, limit)
    costs = space.costs(space.repair(random_genes(space, 50)))
    assert (costs <= limit * (1 + 1e-9)).all() and (costs > smallest).all()
    assert np.median(costs) > 0.9 * limit


@every_budget
def test_a_limit_out_of_reach_is_refused_by_name(name: str) -> None:
    smallest = _space(chain(), name).reach()[name][0]
    with pytest.raises(UserError, match=rf"budgets\.{name}: smallest reachable is "):
        _space(chain(), name, smallest * 0.9)
