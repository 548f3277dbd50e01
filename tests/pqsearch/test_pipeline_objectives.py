"""A whole run with two objectives and a measured sensitivity table, on a real Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pqsearch.cli import main
from pqsearch.front import front_of
from pqsearch.plan import Plan
from pqsearch.study import read_study
from tests.conftest import join_ray, write_spec

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traded")
    spec = write_spec(
        folder, study__objectives=["loss", "flops"], study__evaluations=14, budgets={"weight_bits": 4.0},
        algorithm={"name": "nsga2", "population": 6}, sensitivity={"source": "table"},
        rungs=[{"kind": "calibrate", "images": 64}], space__act_bits=[8], space__weight_bits=[2, 4, 8],
        finetune__compare=False, finetune__epochs=1,
    )  # fmt: skip
    join_ray()
    assert main(["run", str(spec)]) == 0
    return folder / "run"


def _front(run: Path) -> dict[str, Any]:
    return json.loads((run / "front.json").read_text())


def test_the_front_is_left_behind_as_a_file(traded: Path) -> None:
    found = _front(traded)
    assert found == json.loads(json.dumps(front_of(read_study(traded / "journal.jsonl"))))
    assert found["objectives"] == ["loss", "flops"]
    assert found["hypervolume"][-1]["volume"] > 0
    for row in found["plans"]:
        Plan.from_json(row["plan"])


def test_plans_differ_in_the_cost_that_is_an_objective(traded: Path) -> None:
    flops = [row["costs"]["flops"] for row in read_study(traded / "journal.jsonl").leading(100)]
    assert max(flops) - min(flops) > 0.1


def test_the_table_was_measured_by_the_workers_and_is_a_file_of_its_own(traded: Path) -> None:
    table = json.loads((traded / "sensitivity.json").read_text())
    assert {row["kind"] for row in table} == {"prune_rate", "weight_bits"}
    probing = read_study(traded / "journal.jsonl").probing
    assert probing is not None
    assert len(table) == len(probing.probes) == len(probing.ids) - 1
    worst = max(table, key=lambda row: row["cost"])
    assert worst["value"] in (2, 0.5)


def test_no_item_was_started_twice(traded: Path) -> None:
    lines = [line for path in (traded / "logs").glob("started-*.jsonl") for line in path.read_text().splitlines()]
    started = [(row["id"], row["rung"], row["repeat"]) for row in map(json.loads, lines)]
    assert len(started) == len(set(started))
    assert sum(id < 0 for id, *_ in started) == len(read_study(traded / "journal.jsonl").probing.ids)  # type: ignore[union-attr]


def test_the_report_shows_the_front_and_the_table(traded: Path) -> None:
    page = (traded / "report.html").read_text()
    for words in ("What can be had for what", "hypervolume", "What each layer can bear", "after calibration"):
        assert words in page


def test_the_plan_of_the_table_was_in_the_first_population(traded: Path) -> None:
    summary = json.loads((traded / "summary.json").read_text())
    assert summary["sensitivity"] == "table"
    assert summary["proxy_accuracy"]["sensitivity_ilp"]["images"] == 100
