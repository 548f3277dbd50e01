"""Layers and kinds that are one knob: what they mean, cost and take, and what cannot be tied."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.algorithms._integer_program import least_damage
from pqsearch.errors import UserError
from pqsearch.plan import Change, LayerPlan, Plan
from pqsearch.plan_table import PlanTable
from pqsearch.problem import uniform_genes
from search_spaces.space import Space
from search_spaces.targets import Targets
from tests.search_spaces.infos import chain, infos, random_genes, tangled

RATES, BITS = [0.0, 0.25, 0.5], [2, 3, 4, 8]
LIMITS = {"flops": 0.7, "weight_bits": 4.5, "act_bits": 4.5, "size_bytes": 1e9}


def _space(info: object, **options: object) -> Space:
    given: dict[str, object] = {"prune_rate": RATES, "weight_bits": BITS, "act_bits": BITS}
    return Space(info, **{**given, **options})  # type: ignore[arg-type]


@st.composite
def tied_spaces(draw: st.DrawFn) -> Space:
    """Spaces of random networks whose layers are dealt out to two ties and none, some of them pinned."""
    info = draw(infos())
    names = [layer.name for layer in info.layers]
    parts: list[list[str]] = [[], [], []]
    for name in names:
        parts[draw(st.integers(0, 2))].append(name)
    pin = {draw(st.sampled_from(names)): {"weight_bits": 8}} if draw(st.booleans()) else {}
    options = {"tied_layers": [part for part in parts[:2] if part], "tied_bits": draw(st.booleans()), "pin": pin}
    budgets = {}
    for name in draw(st.lists(st.sampled_from(sorted(LIMITS)), unique=True)):
        low, high = _space(info, **options, budgets={name: 1e9}).reach()[name]
        budgets[name] = low + draw(st.sampled_from([0.3, 0.7])) * (high - low)
    try:
        return _space(info, **options, budgets=budgets)
    except UserError:  # each can be met, but not all together
        return _space(info, **options, budgets=dict(list(budgets.items())[:1]))


def _shapes(space: Space) -> list[tuple[str, tuple[str, ...], tuple[float, ...]]]:
    return [(knob.kind, knob.names, knob.values) for knob in space.knobs if knob.kind != "prune_rate"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tied_spaces(), st.integers(0, 999))
def test_genes_of_tied_knobs_come_back_and_cost_what_their_plans_do(space: Space, seed: int) -> None:
    genes = random_genes(space, 6, seed)
    costs = space.costs(genes)
    for row, found in zip(genes, costs, strict=True):
        plan = space.decode(tuple(map(int, row)))
        assert space.encode(plan) == tuple(map(int, row))
        of_plan = space.costs_of(plan)
        assert dict(zip(space.budgets, found, strict=True)) == {name: of_plan[name] for name in space.budgets}
        for knob, level in zip(space.knobs, row, strict=True):
            for name in knob.names if knob.kind != "prune_rate" else ():
                bits = plan.layer(name)
                kinds = ("weight_bits", "act_bits") if knob.kind == "bits" else (knob.kind,)
                assert {getattr(bits, kind) for kind in kinds} == {knob.values[level]}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tied_spaces(), st.integers(0, 999))
def test_repair_of_tied_knobs_holds_the_budgets_and_leaves_no_room(space: Space, seed: int) -> None:
    found = space.repair(random_genes(space, 20, seed))
    limits = space.limits * (1 + 1e-9)
    assert (space.costs(found) <= limits).all()
    assert np.array_equal(space.repair(found), found)
    for knob, levels in enumerate(space.levels):
        more = found[found[:, knob] < levels - 1]
        more[:, knob] += 1
        assert not (space.costs(more) <= space.limits).all(1).any() or not len(more)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tied_spaces(), st.integers(0, 999))
def test_single_steps_written_each_into_its_plan_are_those_of_whole_genes(space: Space, seed: int) -> None:
    genes = random_genes(space, 30, seed)
    rng = np.random.default_rng(seed)
    knobs = rng.integers(0, len(space.levels), 30)
    levels = rng.integers(0, np.array(space.levels)[knobs])
    moved = genes.copy()
    moved[np.arange(30), knobs] = levels
    plans, expected = space.expand(genes), space.expand(moved)
    space.write_each(plans, knobs, levels)
    for side in ("kept", "weight_bits", "act_bits"):
        assert np.array_equal(getattr(plans, side), getattr(expected, side))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tied_spaces(), st.integers(0, 999))
def test_a_table_of_tied_knobs_comes_back_from_json_with_the_same_plans_and_hashes(space: Space, seed: int) -> None:
    again = PlanTable.from_json(json.loads(json.dumps(space.table.to_json())))
    for row in random_genes(space, 5, seed):
        genes = tuple(map(int, row))
        assert again.plan(genes) == space.decode(genes)
        assert again.hash(genes) == space.table.hash(genes) == space.decode(genes).hash


def test_layers_of_one_entry_are_one_knob_for_each_kind() -> None:
    space = _space(chain((8, 8, 8)), tied_layers=[["conv1", "conv2"]])
    assert _shapes(space) == [
        ("weight_bits", ("conv0",), (2, 3, 4, 8)),
        ("weight_bits", ("conv1", "conv2"), (2, 3, 4, 8)),
        ("weight_bits", ("head",), (2, 3, 4, 8)),
        ("act_bits", ("conv0",), (2, 3, 4, 8)),
        ("act_bits", ("conv1", "conv2"), (2, 3, 4, 8)),
        ("act_bits", ("head",), (2, 3, 4, 8)),
    ]


def test_a_layer_whose_bits_are_tied_has_one_knob_and_tied_layers_share_it() -> None:
    space = _space(chain((8, 8, 8)), act_bits=[4, 8, 32], tied_bits=True, tied_layers=[["conv?"]])
    assert _shapes(space) == [("bits", ("conv0", "conv1", "conv2"), (4, 8)), ("bits", ("head",), (4, 8))]
    plan = space.decode((2, 2, 2, 0, 1))
    assert plan.layer("conv1") == LayerPlan(4, 4) and plan.layer("head") == LayerPlan(8, 8)
    assert space.grid == {"prune_rate": (0.5, 0.25, 0.0), "bits": (4, 8)}


def test_what_is_pinned_stays_out_of_a_tie() -> None:
    pin = {"conv0": {"weight_bits": 8, "act_bits": 8}, "head": {"act_bits": 3}}
    space = _space(chain((8, 8, 8)), tied_bits=True, tied_layers=[["*"]], pin=pin)
    assert _shapes(space) == [
        ("weight_bits", ("conv0",), (8,)),
        ("bits", ("conv1", "conv2"), (2, 3, 4, 8)),
        ("weight_bits", ("head",), (2, 3, 4, 8)),
        ("act_bits", ("conv0",), (8,)),
        ("act_bits", ("head",), (3,)),
    ]


def test_tied_layers_have_the_levels_that_all_share() -> None:
    layers = {"conv1": {"weight_bits": [3, 4, 6]}, "conv2": {"weight_bits": [4, 3, 8]}}
    space = _space(chain((8, 8, 8)), tied_layers=[["conv1", "conv2"]], layers=layers)
    assert ("weight_bits", ("conv1", "conv2"), (3, 4)) in _shapes(space)


def test_encode_takes_the_level_that_all_tied_layers_are_nearest_to() -> None:
    space = _space(chain((8, 8, 8)), tied_layers=[["conv*"]])
    plan = Plan(layers={"conv0": LayerPlan(2, 8), "conv1": LayerPlan(4, 8), "conv2": LayerPlan(4, 2)})
    found = space.decode(space.encode(plan))
    assert {found.layer(f"conv{number}").weight_bits for number in range(3)} == {4}
    assert {found.layer(f"conv{number}").act_bits for number in range(3)} == {8}


def test_a_step_of_a_tied_knob_names_all_that_it_changes() -> None:
    space = _space(chain((8, 8, 8)), prune_rate=[0.0], tied_layers=[["conv*"]], tied_bits=True, weight_bits=[2, 8])
    tied = [change for _, _, change in space.changes() if change.tied]
    assert tied == [Change("bits", "conv0", 2, ("conv1", "conv2"))]


def test_uniform_plans_and_the_integer_program_work_on_tied_knobs() -> None:
    info = chain((16, 16, 16, 16))
    pin = {"conv0": {"weight_bits": 8, "act_bits": 8}}
    space = _space(info, tied_layers=[["conv1", "conv2"]], tied_bits=True, pin=pin, budgets={"bitops": 0.02})
    uniform = uniform_genes(space)
    assert len(uniform) and (space.costs(uniform) <= space.limits).all()
    rng = np.random.default_rng(0)
    prior = [sorted(rng.random(levels), reverse=True) for levels in space.levels]
    assert (space.costs(least_damage(space, prior)) <= space.limits * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"tied_layers": [["steam", "side"]]},
            "space.tie[0]: 'steam' matches no layer of the model, did you mean 'stem'?; `pqsearch check` lists them",
        ),
        (
            {"tied_layers": [["s*"], ["head", "side"]]},
            "space.tie[1]: 'side' is in space.tie[0] already; make one entry of the two",
        ),
        (
            {"tied_layers": [["stem", "side"]], "layers": {"side": {"act_bits": [5, 6]}}},
            "space.tie[0]: act_bits of 'side' must share a level with act_bits of 'stem', which leaves 2, 3, 4, 8, got 5, 6; "
            "give both a level in [space] or [space.layers]",
        ),
        (
            {"tied_bits": True, "weight_bits": [32]},
            "space.tie_bits: act_bits of 'stem' must share a level with weight_bits of 'stem', which leaves 32, got 2, 3, 4, 8; "
            "give both a level in [space] or [space.layers]",
        ),
    ],
)
def test_what_cannot_be_tied_is_said_in_one_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(UserError) as caught:
        _space(tangled(), **options)
    assert caught.value.problems == (line,)


def test_a_patterns_layers_are_looked_up_alike_for_single_and_for_tied_knobs() -> None:
    knobs = _space(chain((8, 8, 8)), tied_layers=[["conv*"]]).knobs
    asked = np.array([4, 0, 4, 3])
    found = {kind: (places.tolist(), targets.tolist()) for kind, places, targets in Targets(knobs).of(asked)}
    assert found["prune_rate"] == ([1], [0])
    assert found["weight_bits"] == ([0, 2, 3, 3, 3], [3, 3, 0, 1, 2])
    assert found["act_bits"] == ([], [])
