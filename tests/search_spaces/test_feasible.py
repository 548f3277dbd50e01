from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.errors import UserError
from pqsearch.plan import ModelInfo
from search_spaces.space import Space
from tests.search_spaces.infos import chain, every_plan, infos

BUDGETS = ("flops", "params", "weight_bits", "act_bits", "bitops", "size_bytes")
ENDS = {"conv0": {"weight_bits": 8.0, "act_bits": 8.0}, "head": {"weight_bits": 8.0}}


def _space(info: ModelInfo, **options: object) -> Space:
    given: dict[str, object] = {"prune_rate": [0.0, 0.25, 0.5, 0.75], "weight_bits": [2, 4], "act_bits": [2, 8]}
    return Space(info, pin=ENDS, **{**given, **options})  # type: ignore[arg-type]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(infos(3), st.lists(st.sampled_from(BUDGETS), min_size=2, max_size=4, unique=True), st.integers(0, 99), st.data())
def test_budgets_are_refused_exactly_when_trying_every_plan_finds_none(
    info: ModelInfo, budgets: list[str], percent: int, data: st.DataObject
) -> None:
    free = _space(info, budgets=dict.fromkeys(budgets, 1e9))
    genes = every_plan(free)
    costs = free.costs(genes)
    # Limits that single plans meet, some of them near the cheapest there is.
    shares = [data.draw(st.sampled_from([0.0, 0.02, 0.1, percent / 100])) for _ in budgets]
    limits = {name: float(np.quantile(costs[:, index], shares[index])) for index, name in enumerate(budgets)}
    possible = np.all(costs <= np.array(list(limits.values())), axis=1).any()
    if possible:
        assert (_space(info, budgets=limits).costs(free.repair(genes[:1])) > 0).all()
    else:
        with pytest.raises(UserError, match="budgets"):
            _space(info, budgets=limits)


def test_every_budget_below_its_smallest_is_named_at_once_with_what_is_reachable() -> None:
    with pytest.raises(UserError) as caught:
        _space(chain(), budgets={"flops": 0.01, "act_bits": 8, "weight_bits": 2.0})
    flops, weight_bits = caught.value.problems
    assert flops.startswith("budgets.flops: smallest reachable is 0.0") and ", got 0.01; " in flops
    assert weight_bits.startswith("budgets.weight_bits: smallest reachable is 2.") and ", got 2; " in weight_bits


def test_the_smallest_value_named_can_be_asked_for() -> None:
    with pytest.raises(UserError) as caught:
        _space(chain(), budgets={"flops": 0.01, "size_bytes": 10, "weight_bits": 2.0})
    named = {
        problem.split(":")[0].removeprefix("budgets."): float(problem.split("reachable is ")[1].split(",")[0])
        for problem in caught.value.problems
    }
    assert set(named) == {"flops", "size_bytes", "weight_bits"}
    for name, smallest in named.items():
        assert _space(chain(), budgets={name: smallest}).limits[0] == smallest


def test_a_budget_is_met_by_its_smallest_reachable_value_exactly() -> None:
    for name in BUDGETS:
        smallest = _space(chain(), budgets={name: 1e9}).reach()[name][0]
        space = _space(chain(), budgets={name: smallest})
        found = space.repair(np.zeros((1, len(space.levels)), dtype=np.int64))
        assert space.costs(found)[0, 0] == pytest.approx(smallest, rel=1e-12)


def test_budgets_that_exclude_each_other_are_named_with_what_each_can_reach() -> None:
    # Pruning leaves the first layer's 8 bits a larger share of the weights kept.
    info = chain((4, 32, 32))
    loose = _space(info, budgets={"flops": 1.0, "weight_bits": 8.0}).reach()
    limits = {"flops": loose["flops"][0] * 1.01, "weight_bits": loose["weight_bits"][0] * 1.01}
    for name, limit in limits.items():
        assert _space(info, budgets={name: limit}).budgets == (name,)
    with pytest.raises(UserError) as caught:
        _space(info, budgets=limits)
    (problem,) = caught.value.problems
    assert problem.startswith("budgets: cannot hold together: flops <= ")
    assert "weight_bits <= " in problem and "each alone reaches flops" in problem and problem.endswith("loosen one")


def test_budgets_that_only_a_plan_between_the_corners_meets_are_found() -> None:
    info = chain((8, 8, 16, 16))
    free = _space(info, budgets={"flops": 1.0, "weight_bits": 8.0})
    prune = np.array(free.kinds) == "prune_rate"
    pruned = np.array([[*rates, *([0] * (len(prune) - 4))] for rates in np.ndindex(4, 4, 4, 4)], dtype=np.int64)
    flops, weight_bits = free.costs(pruned).T
    # The fewest FLOPs with mean bits clearly under those of the plan that prunes everything.
    limits = {
        "flops": float(flops[weight_bits < 0.9 * weight_bits[0]].min()),
        "weight_bits": 0.9 * float(weight_bits[0]),
    }
    space = _space(info, budgets=limits)
    corners = np.where(prune, [[0], [3]], 0)
    assert not np.all(space.costs(corners) <= space.limits, axis=1).any()
    assert np.all(space.costs(space.repair(corners)) <= space.limits * (1 + 1e-9))
