from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.plan import ModelInfo
from pqsearch.problem import IntArray
from search_spaces.filling import MOST_FORESEEN
from search_spaces.space import Space
from tests.search_spaces.infos import chain, infos, random_genes, tangled

BUDGETS = ("flops", "params", "weight_bits", "act_bits", "bitops", "size_bytes")
SLACK = 1 + 1e-9


def _space(info: ModelInfo, **options: object) -> Space:
    given: dict[str, object] = {"prune_rate": [0.0, 0.25, 0.5, 0.75], "weight_bits": [2, 4, 8], "act_bits": [2, 4, 8]}
    return Space(info, **{**given, **options})  # type: ignore[arg-type]


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Random nets under limits that a random plan just meets, so that they hold together but leave little room."""
    info = draw(infos())
    names = [layer.name for layer in info.layers]
    pinned = draw(st.lists(st.sampled_from(names), max_size=len(names) - 1, unique=True))
    pin: dict[str, dict[str, float]] = {name: {"weight_bits": 8, "act_bits": 8} for name in pinned}
    options = {"pin": pin, "weight_bits": draw(st.sampled_from([[2, 4, 8], [2, 8, 32]]))}
    options["act_bits"] = draw(st.sampled_from([[2, 4, 8], [8], [4, 32]]))
    free = _space(info, **options)
    met = random_genes(free, 1, draw(st.integers(0, 999)))[0]
    if draw(st.booleans()):
        met[np.array(free.kinds) != "prune_rate"] = 0
    costs = free.costs_of(free.decode(tuple(map(int, met))))
    budgets = draw(st.lists(st.sampled_from(BUDGETS), min_size=1, max_size=4, unique=True))
    return _space(info, **options, budgets={name: costs[name] for name in budgets})


def _feasible(space: Space, genes: IntArray) -> np.ndarray:
    return np.all(space.costs(genes) <= space.limits * SLACK, axis=1)


def _assert_filled(space: Space, genes: IntArray) -> None:
    for knob, levels in enumerate(space.levels):
        room = genes[:, knob] < levels - 1
        raised = genes[room].copy()
        raised[:, knob] += 1
        # A sum one rounding error over its limit counts as under it.
        assert not np.all(space.costs(raised) <= space.limits, axis=1).any(), space.kinds[knob]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(spaces(), st.integers(0, 999))
def test_any_genes_become_a_filled_plan_under_every_budget(space: Space, seed: int) -> None:
    found = space.repair(random_genes(space, 20, seed))
    assert found.dtype == np.int64 and found.shape == (20, len(space.levels))
    assert (found >= 0).all() and (found < np.array(space.levels)).all()
    assert _feasible(space, found).all()
    _assert_filled(space, found)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(spaces(), st.integers(0, 999))
def test_repairing_twice_changes_nothing(space: Space, seed: int) -> None:
    once = space.repair(random_genes(space, 20, seed))
    assert np.array_equal(space.repair(once), once)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(spaces(), st.integers(0, 999))
def test_a_plan_is_repaired_alike_alone_in_company_and_again(space: Space, seed: int) -> None:
    genes = random_genes(space, MOST_FORESEEN, seed)
    crowd = space.repair(genes)
    few = space.repair(genes[:5])
    alone = np.concatenate([space.repair(row[None]) for row in genes[:5]])
    assert np.array_equal(crowd[:5], alone) and np.array_equal(few, alone)
    assert np.array_equal(crowd, space.repair(genes))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(spaces(), st.integers(0, 999))
def test_a_plan_that_holds_the_budgets_is_never_lowered(space: Space, seed: int) -> None:
    genes = random_genes(space, 200, seed)
    genes = genes[np.all(space.costs(genes) <= space.limits, axis=1)]
    assert (space.repair(genes) >= genes).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(spaces(), st.integers(0, 999))
def test_genes_out_of_range_count_as_the_nearest_level(space: Space, seed: int) -> None:
    wild = random_genes(space, 20, seed) * 50 - 60
    tame = np.clip(wild, 0, np.array(space.levels) - 1)
    assert np.array_equal(space.repair(wild), space.repair(tame))


def test_an_empty_population_stays_empty() -> None:
    space = _space(tangled(), budgets={"flops": 0.8})
    assert space.repair(np.zeros((0, len(space.levels)), dtype=np.int64)).shape == (0, len(space.levels))


def test_repair_leaves_the_genes_it_was_given_alone() -> None:
    space = _space(tangled(), budgets={"flops": 0.8, "weight_bits": 3})
    genes = random_genes(space, 10)
    before = genes.copy()
    space.repair(genes)
    assert np.array_equal(genes, before)


def test_without_budgets_everything_is_as_dear_as_it_can_be() -> None:
    space = _space(tangled())
    assert (space.repair(random_genes(space, 4)) == np.array(space.levels) - 1).all()


def test_one_free_knob_goes_as_far_as_the_budget() -> None:
    pin = {name: {"prune_rate": 0} for name in ("conv0", "conv1")}
    space = _space(
        chain((8, 8, 8)),
        prune_rate=[0.0, 0.125, 0.25, 0.5, 0.75],
        weight_bits=[32],
        act_bits=[32],
        pin=pin,
        budgets={"params": 0.8},
    )
    assert sum(levels > 1 for levels in space.levels) == 1
    genes = space.repair(random_genes(space, 5))
    # 216 + 576 + 576 + 40 weights, 5 biases and 16 norm parameters a layer: 6 of 8 channels are 0.88 and 4 are 0.76.
    assert {space.decode(tuple(map(int, row))).groups["conv2"] for row in genes} == {0.5}


def test_layers_pinned_at_8_bits_that_hold_most_weights_leave_the_rest_to_make_up_for_them() -> None:
    info = chain((16, 64, 64, 16))
    pin = {"conv2": {"weight_bits": 8, "act_bits": 8}}  # two thirds of all weights
    space = _space(
        info, prune_rate=[0.0, 0.25, 0.5], weight_bits=[2, 3, 4, 6, 8], pin=pin, budgets={"weight_bits": 6.0}
    )
    heavy = space.costs_of(space.decode(tuple([0] * len(space.levels))))["weight_bits"]
    assert heavy > 5
    found = space.repair(random_genes(space, 300))
    assert _feasible(space, found).all()
    _assert_filled(space, found)


def test_a_broken_flops_budget_costs_no_bits() -> None:
    space = _space(chain((16, 16, 16, 16)), budgets={"flops": 0.4, "weight_bits": 4, "act_bits": 4})
    asked = np.array([[3 if kind == "prune_rate" else 1 for kind in space.kinds]])
    found = space.repair(asked)
    bits = np.array(space.kinds) != "prune_rate"
    assert (found[:, bits] >= asked[:, bits]).all() and (found[:, ~bits] < asked[:, ~bits]).any()


def test_two_spaces_of_the_same_spec_repair_alike() -> None:
    genes = random_genes(_space(tangled()), 100)
    one, other = (_space(tangled(), budgets={"flops": 0.6, "weight_bits": 4}).repair(genes) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("budgets", [{"bitops": 0.01}, {"size_bytes": 8000, "flops": 0.6}, {"params": 0.4}])
def test_slack_goes_back_to_what_was_asked_before_anything_else(budgets: dict[str, float]) -> None:
    space = _space(chain((16,) * 6), budgets=budgets)
    asked = random_genes(space, 100)
    # What of the asked is left when all that was given beyond it is taken away again.
    left = np.minimum(space.repair(asked), asked)
    assert (left < asked).any()
    for knob in range(len(space.levels)):
        more = left[left[:, knob] < asked[:, knob]]
        more[:, knob] += 1
        assert not np.all(space.costs(more) <= space.limits, axis=1).any()


def test_what_a_plan_prefers_survives_repair() -> None:
    space = _space(chain((16,) * 6), budgets={"flops": 0.5, "weight_bits": 4})
    prune = [index for index, kind in enumerate(space.kinds) if kind == "prune_rate"]
    early, late = np.zeros((2, len(space.levels)), dtype=np.int64)
    early[prune[:3]], late[prune[3:]] = 3, 3
    kept_early, kept_late = space.repair(np.array([early, late]))
    assert kept_early[prune[:3]].sum() > kept_early[prune[3:]].sum()
    assert kept_late[prune[:3]].sum() < kept_late[prune[3:]].sum()


def test_different_plans_stay_different_and_use_the_budgets_up() -> None:
    limits = {"flops": 0.5, "weight_bits": 4, "act_bits": 4}
    space = _space(chain((16,) * 8), weight_bits=[2, 3, 4, 5, 6, 8], act_bits=[2, 3, 4, 5, 6, 8], budgets=limits)
    found = space.repair(random_genes(space, 300))
    assert len(np.unique(found, axis=0)) > 290
    assert (np.median(space.costs(found) / space.limits, axis=0) > 0.95).all()


@pytest.mark.parametrize("limit", [0.3, 0.5, 0.9, 1.0])
def test_a_looser_budget_never_gives_a_cheaper_filled_corner(limit: float) -> None:
    space = _space(chain((16, 16)), budgets={"flops": limit})
    dearest = space.repair(np.array([[levels - 1 for levels in space.levels]]))
    bits = np.array(space.kinds) != "prune_rate"
    assert (dearest[0, bits] == 2).all()  # flops says nothing of bits
    assert space.costs(dearest)[0, 0] <= limit
    assert limit < 1 or (dearest[0] == np.array(space.levels) - 1).all()


def test_slack_is_not_given_to_knobs_that_cost_an_objective() -> None:
    space = _space(chain(), budgets={"act_bits": 4.0}, objectives=["flops"])
    asked = np.zeros((1, len(space.levels)), dtype=np.int64)
    found = space.repair(asked)[0]
    kinds = np.array(space.kinds)
    assert (found[kinds == "prune_rate"] == 0).all()
    top = np.array(space.levels) - 1
    assert (found == top)[kinds == "weight_bits"].all()  # no limit on them, and no objective either


def test_knobs_that_cost_an_objective_come_back_to_what_was_asked() -> None:
    free = _space(chain(), objectives=["flops"])
    asked = random_genes(free, 20, 3)
    found = free.repair(asked)
    pruned = np.array(free.kinds) == "prune_rate"
    assert (found[:, pruned] == asked[:, pruned]).all()
    assert (found[:, ~pruned] == np.array(free.levels)[~pruned] - 1).all()
    assert (free.repair(found) == found).all()
