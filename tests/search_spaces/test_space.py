from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.errors import UserError
from pqsearch.open_study import seeds
from pqsearch.plan import LayerPlan, ModelInfo, Plan
from pqsearch.problem import uniform_genes
from search_spaces.space import Space
from tests.search_spaces.infos import chain, every_plan, infos, random_genes, tangled

RATES, BITS = [0.0, 0.25, 0.5, 0.75], [2, 3, 4, 8]


def _space(info: ModelInfo, **options: object) -> Space:
    given: dict[str, object] = {"prune_rate": RATES, "weight_bits": BITS, "act_bits": BITS}
    return Space(info, **{**given, **options})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(infos(), st.integers(0, 999))
def test_genes_decoded_and_encoded_come_back(info: ModelInfo, seed: int) -> None:
    space = _space(info, pin={"head": {"weight_bits": 8}})
    for row in random_genes(space, 5, seed):
        genes = tuple(map(int, row))
        assert space.encode(space.decode(genes)) == genes


def test_a_plan_through_json_costs_the_same() -> None:
    space = _space(tangled())
    plan = space.decode(tuple(map(int, random_genes(space, 1)[0])))
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan and space.costs_of(again) == space.costs_of(plan)


def test_a_plan_names_every_prunable_group_and_every_layer() -> None:
    plan = _space(tangled()).decode(tuple([0] * 13))
    assert set(plan.groups) == {"stem", "grouped", "side"}
    assert set(plan.layers) == {"stem", "depthwise", "grouped", "side", "head"}
    assert plan.layer("head") == LayerPlan(2, 2)


def test_level_zero_is_the_cheapest_and_the_last_the_dearest() -> None:
    space = _space(tangled(), budgets={"flops": 1.0, "size_bytes": 1e9, "bitops": 1.0})
    cheapest, dearest = space.costs(np.array([[0] * 13, [levels - 1 for levels in space.levels]]))
    every = space.costs(random_genes(space, 200))
    assert (every >= cheapest).all() and (every <= dearest).all()


def test_encode_takes_the_nearest_level() -> None:
    space = _space(chain((8, 8)))
    genes = space.encode(Plan({"conv0": 0.3, "conv1": 0.9}, {"conv0": LayerPlan(7, 32), "head": LayerPlan(1, 5)}))
    plan = space.decode(genes)
    assert plan.groups == {"conv0": 0.25, "conv1": 0.75}
    assert plan.layer("conv0") == LayerPlan(8, 8) and plan.layer("head") == LayerPlan(2, 4)
    assert plan.layer("conv1") == LayerPlan(8, 8)  # left out of the plan: float, and 8 is nearest to 32


def test_a_plan_for_another_model_is_refused_with_every_wrong_name() -> None:
    with pytest.raises(UserError) as caught:
        _space(chain()).encode(Plan({"conv9": 0.5, "conv0": 0.5}, {"haed": LayerPlan(8, 8)}))
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("plan.groups.conv9: the model has no such group, did you mean")
    assert caught.value.problems[1] == "plan.layers.haed: the model has no such layer, did you mean 'head'?"


def test_a_space_where_nothing_varies_is_refused() -> None:
    with pytest.raises(UserError, match="space: nothing varies"):
        _space(chain(), prune_rate=[0.0], weight_bits=[8], act_bits=[8])


@pytest.mark.parametrize(
    ("varied", "frozen"),
    [("prune_rate", {"weight_bits": [32], "act_bits": [32]}), ("weight_bits", {"prune_rate": [0.0], "act_bits": [8]})],
)
def test_one_kind_of_knob_alone_leaves_the_others_frozen(varied: str, frozen: dict[str, list[float]]) -> None:
    space = _space(chain(), **frozen)
    assert {kind for kind, levels in zip(space.kinds, space.levels, strict=True) if levels > 1} == {varied}


def test_uniform_plans_are_feasible_and_none_is_dearer_in_every_kind() -> None:
    space = _space(chain((8, 16, 16)), budgets={"flops": 0.5, "weight_bits": 4, "act_bits": 4})
    # The equal-level plans: one rate and two widths; half the channels of all layers is under half the FLOPs.
    assert [space.decode(tuple(map(int, genes))) for genes in uniform_genes(space)] == [
        Plan({f"conv{index}": 0.5 for index in range(3)}, {layer.name: LayerPlan(4, 4) for layer in space.info.layers})
    ]


def test_uniform_plans_that_no_other_dominates_are_all_there() -> None:
    space = _space(chain((8, 16, 16)), budgets={"bitops": 0.004})
    uniform = uniform_genes(space)
    assert len(uniform) > 2 and (space.costs(uniform) <= space.limits).all()
    triples = [
        (plan.groups["conv0"], plan.layer("conv0").weight_bits, plan.layer("conv0").act_bits)
        for plan in (space.decode(tuple(map(int, genes))) for genes in uniform)
    ]
    for one in triples:
        for other in triples:
            assert one == other or one[0] < other[0] or one[1] > other[1] or one[2] > other[2]


def test_uniform_plans_leave_pinned_knobs_alone() -> None:
    pin = {"conv0": {"weight_bits": 8, "act_bits": 8}}
    space = _space(chain((8, 16, 16)), pin=pin, budgets={"weight_bits": 4})
    for genes in uniform_genes(space):
        plan = space.decode(tuple(map(int, genes)))
        assert plan.layer("conv0") == LayerPlan(8, 8)
        assert plan.layer("conv1").weight_bits == 3  # with 8 bits in one layer, 4 elsewhere is over the mean


def test_reach_is_what_trying_every_plan_finds() -> None:
    space = _space(
        chain((4, 4)),
        weight_bits=[2, 4],
        act_bits=[2, 8],
        pin={"conv0": {"weight_bits": 8, "act_bits": 8}},
        budgets={"flops": 1.0, "params": 1.0, "weight_bits": 8, "act_bits": 8, "bitops": 1.0, "size_bytes": 1e9},
    )
    costs = space.costs(every_plan(space))
    for index, (smallest, largest) in enumerate(space.reach().values()):
        assert (smallest, largest) == (costs[:, index].min(), costs[:, index].max())


def test_uniform_plans_span_the_costs_that_are_objectives() -> None:
    options: dict[str, object] = {"budgets": {"weight_bits": 4.0}, "act_bits": [8]}
    assert len(uniform_genes(_space(chain(), **options))) == 1
    several = _space(chain(), **options, objectives=["flops"])
    flops = [several.costs_of(several.decode(tuple(row)))["flops"] for row in uniform_genes(several).tolist()]
    assert len(set(flops)) == len(RATES)
    assert min(flops) < 0.2
    assert max(flops) == 1
    evaluated = {several.costs_of(several.decode(proposal.genes))["flops"] for proposal in seeds(several)}
    assert evaluated >= {min(flops), max(flops)}
