"""Milliseconds as a budget, from the table to the report, and what is said of tables that will not do."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

import pqsearch
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.open_study import fingerprint, target_of
from pqsearch.plan import ModelInfo, Plan
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec
from pqsearch.study import read_study
from tests.conftest import join_ray, small_spec, write_spec
from tests.search_spaces.latencies import file_of

LIMIT = 0.06
#: What is searched matters here, not how well.
QUICK: dict[str, Any] = {"rungs": [{"kind": "calibrate", "images": 64}], "baseline": {"epochs": 1}}


@functools.cache
def _info() -> ModelInfo:
    return prepare(parse_spec(small_spec())).info


def _table(folder: Path, milliseconds: float = 0.01) -> Path:
    """0.01 ms for each of the ten layers where it is whole."""
    path = folder / "table.json"
    path.write_text(json.dumps(file_of(_info(), milliseconds)))
    return path


def _spec(folder: Path, **changes: Any) -> Path:
    changes = {"budgets": {"latency_ms": LIMIT}, "latency__table": str(folder / "table.json"), **changes}
    return write_spec(folder, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run under a limit on latency, through every stage."""
    folder = tmp_path_factory.mktemp("latency")
    _table(folder)
    quick = {"study__evaluations": 9, "workers__count": 1, "finetune": {"epochs": 1, "compare": False}, **QUICK}
    join_ray()
    assert main(["run", str(_spec(folder, **quick))]) == 0
    return folder / "run"


@pytest.mark.long
def test_the_searched_plan_holds_the_latency_and_uses_it_up(run: Path) -> None:
    state = read_study(run / "journal.jsonl")
    costs = [row["costs"]["latency_ms"] for row in state.candidates() if row["costs"]]
    assert max(costs) <= LIMIT * (1 + 1e-9)
    assert max(costs) > 0.9 * LIMIT
    plan = json.loads((run / "plan.json").read_text())
    assert plan["costs"]["latency_ms"] <= LIMIT * (1 + 1e-9)


@pytest.mark.long
def test_summary_and_report_have_the_latency_of_the_plan_and_of_the_float_baseline(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["baseline"]["latency_ms"] == pytest.approx(0.01 * len(_info().layers))
    assert summary["searched"]["latency_ms"] == json.loads((run / "plan.json").read_text())["costs"]["latency_ms"]
    assert "holds every budget (latency_ms by its table of measurements)" in summary["verdict"]
    page = (run / "report.html").read_text()
    assert "by which the float baseline takes" in page


@pytest.mark.long
def test_another_latency_is_selected_and_solved_for_by_the_runs_own_copy_of_the_table(run: Path) -> None:
    (run.parent / "table.json").rename(run.parent / "elsewhere.json")
    try:
        costs = sorted(row["costs"]["latency_ms"] for row in read_study(run / "journal.jsonl").leading(100))
        assert pqsearch.select(run, {"latency_ms": costs[1]})["costs"]["latency_ms"] <= costs[1]
        found = pqsearch.resolve(run, {"latency_ms": 0.8 * LIMIT}, evaluate=False)
        assert found["costs"]["latency_ms"] <= 0.8 * LIMIT * (1 + 1e-9)
    finally:
        (run.parent / "elsewhere.json").rename(run.parent / "table.json")


@pytest.mark.long
def test_going_on_with_a_changed_table_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = run / "spec.toml"
    before, journal = (run.parent / "table.json").read_text(), (run / "journal.jsonl").read_bytes()
    _table(run.parent, 0.02)
    try:
        for command in ("search", "check", "report"):
            assert main([command, str(spec), "--set", "study.evaluations=12", "--set", "budgets.latency_ms=0.15"]) == 2
            answer = capsys.readouterr().err
            assert answer.splitlines() == [
                f"latency.table: the measurements in {run.parent / 'table.json'} are not those that the run in {run} was "
                f"made with; use {run / 'latency.json'} or another study.run_dir"
            ]
    finally:
        (run.parent / "table.json").write_text(before)
    assert (run / "journal.jsonl").read_bytes() == journal


@pytest.mark.long
def test_going_on_without_the_table_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write_spec(tmp_path, budgets={}, study__run_dir=str(run), study__evaluations=9)
    assert main(["search", str(spec)]) == 2
    assert (
        f"latency.table: the run in {run} has '{run.parent / 'table.json'}', the spec none" in capsys.readouterr().err
    )


@pytest.mark.long
def test_the_same_table_in_another_place_goes_on(run: Path, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps(json.loads((run / "latency.json").read_text()), indent=7))
    spec = pqsearch.load_spec(run / "spec.toml", [f"latency.table={tmp_path / 'table.json'}"])
    RunDirectory(run).compare(spec)


def test_a_journal_is_bound_to_the_content_of_the_table(tmp_path: Path) -> None:
    def found() -> Any:
        spec = pqsearch.load_spec(_spec(tmp_path))
        return fingerprint(spec, _info(), "baseline")["latency.table"]

    _table(tmp_path)
    first = found()
    assert found() == first
    _table(tmp_path, 0.011)
    assert found() != first
    assert "latency.table" not in fingerprint(parse_spec(small_spec()), _info(), "baseline")


def test_a_journal_of_before_there_were_ties_is_still_that_of_a_spec_without_them() -> None:
    plain = fingerprint(parse_spec(small_spec()), _info(), "baseline")["space"]
    tied = fingerprint(parse_spec(small_spec(space__tie_bits=True)), _info(), "baseline")["space"]
    assert not {"tie", "tie_bits", "sparsity", "sparsity_pattern"} & plain.keys() and tied == {
        **plain,
        "tie_bits": True,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgets": {"latency_ms": 3.5}}, "budgets.latency_ms: needs"),
        (
            {"study__objectives": ["accuracy", "latency_ms"], "algorithm": {"name": "nsga2", "population": 4}},
            "study.objectives[1]: latency_ms needs",
        ),
        (
            {"target": {"max_drop": 1.0, "minimize": "latency_ms"}, "study__evaluations": 30},
            "target.minimize: latency_ms needs",
        ),
    ],
    ids=["a budget", "an objective", "a target"],
)
def test_latency_without_a_table_is_refused_and_the_answer_says_how_to_get_one(
    changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(write_spec(tmp_path, **changes))]) == 2
    assert capsys.readouterr().err == (
        f'{words} measurements, got no latency.table; set [latency] table = "latency.json" and let `pqsearch latency SPEC '
        "--out latency.json` make them\n"
    )


def test_a_run_without_a_table_selects_and_solves_for_no_latency(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("select", "resolve"):
        assert main([command, str(finished_run), "--budget", "latency_ms=3.5"]) == 2
        assert (
            "--budget latency_ms: the run knows no such cost, as its spec names no measurements"
            in capsys.readouterr().err
        )


def test_what_is_wrong_with_the_table_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = file_of(_info())
    del data["layers"]["linear"]
    data["layers"]["conv1"][0]["ms"] = "fast"
    data["layers"]["conv9"] = []
    path = tmp_path / "table.json"
    path.write_text(json.dumps(data))
    spec = _spec(tmp_path)
    for command in ("check", "run"):
        assert main([command, str(spec)]) == 2
        answer = capsys.readouterr().err.splitlines()
        assert len(answer) == 3
        assert all(line.startswith(f"{path}: layers.") for line in answer)
    assert not (tmp_path / "run").exists()


def test_a_table_that_is_not_there_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.json"
    assert main(["check", str(_spec(tmp_path))]) == 2
    assert capsys.readouterr().err == (
        f"latency.table: {path} cannot be read (No such file or directory); `pqsearch latency SPEC --out {path}` measures one\n"
    )


def test_check_says_what_the_float_network_takes_and_what_plans_can_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _table(tmp_path)
    assert main(["check", str(_spec(tmp_path))]) == 0
    printed = capsys.readouterr().out
    whole = f"{0.01 * len(_info().layers):.4g}"
    assert (
        f"latency  {whole} ms for an image of the float network, by {path} (a table on paper, batch size 1)" in printed
    )
    (row,) = [line.split() for line in printed.splitlines() if line.startswith("budgets.latency_ms")]
    assert row[1] == "0.06" and float(row[2]) < LIMIT and row[3:] == [whole, "ms"]


def test_a_limit_below_all_plans_is_refused(tmp_path: Path) -> None:
    _table(tmp_path)
    with pytest.raises(UserError, match=r"^budgets.latency_ms: smallest reachable is 0\.0\d+, got 0\.001; "):
        prepare(pqsearch.load_spec(_spec(tmp_path, budgets={"latency_ms": 0.001})))


def test_a_target_can_minimise_the_latency(tmp_path: Path) -> None:
    _table(tmp_path)
    target = {"max_drop": 1.0, "minimize": "latency_ms"}
    path = _spec(tmp_path, budgets={}, target=target, study__evaluations=30, study__objectives=["accuracy"])
    found = target_of(pqsearch.load_spec(path), _info())
    assert found is not None
    assert found.high == pytest.approx(0.01 * len(_info().layers))
    assert found.low < found.high / 2
    space = found.at(0.05)
    assert all(
        space.costs_of(space.decode(row.genes))["latency_ms"] <= 0.05 * (1 + 1e-9) for row in found.ladder(None)[-1:]
    )


@pytest.mark.release
@pytest.mark.usefixtures("warm_ray")
def test_a_search_with_latency_as_an_objective_has_a_front_over_it(tmp_path: Path) -> None:
    _table(tmp_path)
    spec = _spec(
        tmp_path, budgets={"weight_bits": 4.0}, study__objectives=["loss", "latency_ms"], study__confirm=0,
        algorithm={"name": "nsga2", "population": 4}, workers__count=1, **QUICK,
    )  # fmt: skip
    assert main(["search", str(spec)]) == 0
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert front["objectives"] == ["loss", "latency_ms"]
    costs = [row["costs"]["latency_ms"] for row in front["plans"]]
    assert costs and all(0 < cost <= 0.01 * len(_info().layers) * (1 + 1e-9) for cost in costs)


def test_the_float_plan_is_the_sum_of_the_whole_layers(tmp_path: Path) -> None:
    _table(tmp_path, 0.5)
    space = prepare(pqsearch.load_spec(_spec(tmp_path, budgets={}))).space
    assert space.costs_of(Plan())["latency_ms"] == 0.5 * len(_info().layers)
