"""What genes mean: the same plans and hashes as a space's own, before and after JSON."""

from __future__ import annotations

import json

import numpy as np

from pqsearch.plan import LayerPlan, Plan
from pqsearch.plan_table import PlanTable
from search_spaces.space import Space
from tests.search_spaces.infos import tangled


def test_a_table_hashes_plans_as_the_plans_themselves_do() -> None:
    space = Space(tangled(), prune_rate=(0.0, 0.25, 0.5), weight_bits=(2, 4, 8), act_bits=(3, 32))
    rng = np.random.default_rng(0)
    for _ in range(50):
        genes = tuple(int(level) for level in rng.integers(0, space.levels))
        assert space.table.hash(genes) == space.decode(genes).hash


def test_a_table_comes_back_from_json_as_it_was() -> None:
    table = PlanTable([("prune_rate", 'a "quoted" name', (0.5, 0.0)), ("act_bits", "ü", (2, 8))])
    again = PlanTable.from_json(json.loads(json.dumps(table.to_json())))
    assert again.plan((0, 1)) == table.plan((0, 1)) == Plan({'a "quoted" name': 0.5}, {"ü": LayerPlan(act_bits=8)})
    assert again.hash((0, 1)) == table.hash((0, 1)) == table.plan((0, 1)).hash


def test_plans_without_zeros_read_and_hash_as_before_there_were_any() -> None:
    table = PlanTable([("weight_bits", "conv", (2, 4)), ("sparsity", "conv", (0.5, 0.0))])
    dense, sparse = table.plan((1, 1)), table.plan((1, 0))
    assert dense.to_json()["layers"] == {"conv": {"weight_bits": 4, "act_bits": 32}}
    assert sparse.to_json()["layers"] == {"conv": {"weight_bits": 4, "act_bits": 32, "sparsity": 0.5}}
    assert Plan.from_json(dense.to_json()) == dense and Plan.from_json(sparse.to_json()) == sparse
    assert [table.hash((1, level)) for level in (1, 0)] == [dense.hash, sparse.hash]
    # The hash of this plan in journals of before.
    assert dense.hash == Plan(layers={"conv": LayerPlan(4)}).hash == "18a8fdd6f388e4b6"


def test_layers_whose_knobs_have_no_row_stay_float() -> None:
    table = PlanTable([("weight_bits", "conv", (2, 4))])
    assert table.plan((0,)).layer("conv") == LayerPlan(2, 32)
    assert table.hash((0,)) == table.plan((0,)).hash
