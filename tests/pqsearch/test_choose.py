"""Picking from evaluated plans: on a finished run, under other budgets, in the words of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pqsearch
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.study import read_study


def test_without_budgets_the_best_score_is_picked(finished_run: Path) -> None:
    state = read_study(finished_run / "journal.jsonl")
    scores = {row["id"]: state.score(row["id"]) for row in state.leading(100)}
    assert pqsearch.select(finished_run, {})["id"] == min(scores, key=lambda id: scores[id])


def test_under_a_budget_the_best_of_those_that_hold_it_is_picked(finished_run: Path) -> None:
    state = read_study(finished_run / "journal.jsonl")
    rows = state.leading(100)
    limit = sorted(row["costs"]["flops"] for row in rows)[len(rows) // 2]
    found = pqsearch.select(finished_run, {"flops": limit})
    fit = [row for row in rows if row["costs"]["flops"] <= limit]
    assert found["costs"]["flops"] <= limit
    assert state.score(found["id"]) == min(state.score(row["id"]) for row in fit)


def test_costs_that_were_no_budgets_of_the_search_are_known_too(finished_run: Path) -> None:
    sizes = [row["costs"]["size_bytes"] for row in read_study(finished_run / "journal.jsonl").leading(100)]
    assert pqsearch.select(finished_run, {"size_bytes": min(sizes)})["costs"]["size_bytes"] == min(sizes)


def test_with_no_plan_under_the_budget_the_nearest_is_named(finished_run: Path) -> None:
    state = read_study(finished_run / "journal.jsonl")
    rows = state.leading(100)
    # Of those as near as each other the best.
    nearest = min(sorted(rows, key=lambda row: state.score(row["id"])), key=lambda row: row["costs"]["flops"])
    with pytest.raises(
        UserError, match=rf"none of the {len(rows)} evaluated plans .* candidate {nearest['id']} with flops"
    ):
        pqsearch.select(finished_run, {"flops": 0.001})


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), "0.5", None])
def test_a_limit_that_none_can_be_is_refused_by_name(limit: Any, finished_run: Path) -> None:
    for call in (pqsearch.select, pqsearch.resolve):
        with pytest.raises(UserError, match=rf"--budget flops={limit}: the limit must be above 0 and finite"):
            call(finished_run, {"flops": limit})


def test_the_command_prints_the_plan_and_writes_it(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "picked.json"
    assert main(["select", str(finished_run), "--budget", "flops=0.9", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "flops=" in printed
    data = json.loads(out.read_text())
    assert Plan.from_json(data).to_json() == pqsearch.select(finished_run, {"flops": 0.9})["plan"]
    assert data["costs"]["flops"] <= 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "flop=0.4"], "--budget flop: unknown cost, did you mean 'flops'?"),
        (["--budget", "flops"], "--budget flops: must be COST=LIMIT with a number"),
        (["--budget", "flops=half"], "--budget flops=half: must be COST=LIMIT with a number"),
        (["--budget", "flops=-1"], "--budget flops=-1: the limit must be above 0"),
        (["--out", "/proc/nowhere/plan.json"], "--out /proc/nowhere/plan.json: cannot be written"),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    arguments: list[str], words: str, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", str(finished_run), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_that_holds_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", str(tmp_path)]) == 2
    assert "is not a run directory" in capsys.readouterr().err
