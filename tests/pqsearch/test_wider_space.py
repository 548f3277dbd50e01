"""A small run, on a real Ray, of a space with one-bit levels, layers that are tied and zeros."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pqsearch
from pqsearch.check import check
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from tests.conftest import join_ray, write_spec
from trainers.measure import measure

CHANGES = {
    "space__prune_rate": [0.0, 0.5],
    "space__weight_bits": [1, 2, 4],
    "space__act_bits": [1, 4],
    "space__sparsity": [0.0, 0.5],
    "space__sparsity_pattern": "2:4",
    "space__tie": [["layer1.*", "layer2.*"]],
    "budgets": {"nonzero_params": 0.45, "weight_bits": 3.0},
    "baseline__epochs": 3,
    "finetune__epochs": 1,
    "finetune__compare": False,
    "study__evaluations": 5,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wider")
    join_ray()
    assert main(["run", str(write_spec(folder, **CHANGES))]) == 0
    return folder / "run"


@pytest.mark.long
def test_what_is_exported_holds_the_budgets_as_measured_and_has_its_masks(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    module = pqsearch.load(run)
    found = measure(module, (1, 8, 8))
    assert (
        found["nonzero_params"] / summary["baseline"]["params"]
        <= 0.45
        < found["params"] / summary["baseline"]["params"]
    )
    assert found["weight_bits"] <= 3
    assert summary["searched"]["nonzero_params"] == found["nonzero_params"] / summary["baseline"]["params"]
    data = json.loads((run / "plan.json").read_text())
    assert data["sparsity_pattern"] == "2:4"
    sparse = {name for name, layer in Plan.from_json(data).layers.items() if layer.sparsity}
    masks = {name.removesuffix(".weight_mask") for name in module.state_dict() if name.endswith("weight_mask")}
    assert sparse and masks == sparse
    assert "zeros among the weights left" in (run / "report.html").read_text()


@pytest.mark.long
def test_one_bit_levels_were_evaluated_and_tied_layers_have_the_same_bits(run: Path) -> None:
    state = read_study(run / "journal.jsonl")
    plans = [Plan.from_json(row["plan"]) for row in state.candidates() if row["state"] == "done"]
    assert len(plans) >= 5
    assert any(1 in (layer.weight_bits, layer.act_bits) for plan in plans for layer in plan.layers.values())
    for plan in plans:
        tied = [layer for name, layer in plan.layers.items() if name.startswith(("layer1.", "layer2."))]
        assert len({layer.weight_bits for layer in tied}) == len({layer.act_bits for layer in tied}) == 1
    assert state.probing is not None
    assert {"sparsity", "weight_bits"} <= {row["kind"] for row in state.probing.table()}
    assert all(np.isfinite(row["cost"]) for row in state.probing.table())


def test_sparsity_that_no_budget_counts_is_refused_before_anything_runs(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path, **{**CHANGES, "budgets": {"flops": 0.5}}))
    with pytest.raises(UserError) as caught:
        check(spec, say=lambda line: None)
    assert caught.value.problems == (
        "space.sparsity: no budget and no objective counts zeros, so that every layer would stay dense, got flops; "
        "add a limit on nonzero_params or sparse_flops to [budgets]",
    )
