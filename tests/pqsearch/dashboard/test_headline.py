"""The numbers on top of the page, of real studies in all their states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pqsearch.dashboard.headline import headline
from pqsearch.dashboard.watched import Watched
from pqsearch.journal.lock import Lock
from pqsearch.run_dir import RunDirectory
from tests.pqsearch.dashboard.small_study import begin, search


def _headline(run: RunDirectory, now: float | None = None) -> dict[str, Any]:
    watched = Watched(run)
    watched.follow()
    found = headline(watched, now)
    assert json.loads(json.dumps(found)) == found
    return found


def _card(found: dict[str, Any], label: str) -> dict[str, str]:
    (card,) = [card for card in found["cards"] if card["label"].startswith(label)]
    return card


def test_a_search_that_nobody_works_on_says_how_to_go_on(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)
    found = _headline(run)
    assert found["state"] == "stopped"
    assert found["command"] == f"pqsearch run {run.spec}"
    assert found["progress"]["done"] < found["progress"]["total"]
    assert _card(found, "time left once")["value"].endswith(("s", "m"))


def test_a_search_that_is_worked_on_names_who_does_it_and_how_long_it_was_quiet(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)
    with Lock(run.lock):
        found = _headline(run)
        later = _headline(run, now=_last(run) + 600)
    assert (found["state"], found["command"]) == ("running", None)
    assert found["sentence"].startswith("At work: process ")
    assert "The last event is 10m old." in later["sentence"]


def test_a_finished_search_says_so_and_what_comes_next(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    found = _headline(run)
    assert found["state"] == "finished"
    assert "all evaluations that were asked for are done" in found["sentence"]
    assert _card(found, "time left")["value"] == "none"
    run.report.write_text("<p>")
    assert _headline(run)["command"] is None and _headline(run)["report"]


def test_the_best_plan_has_its_error_its_rivals_and_its_costs_against_the_budgets(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    found = _headline(run)
    card = _card(found, "best plan")
    assert " ± " in card["value"] and "on 100 images" in card["note"] and "uniform plan" in card["note"]
    assert [row["name"] for row in found["budgets"]] == ["flops", "weight_bits", "act_bits"]
    assert all(row["value"] <= row["limit"] * (1 + 1e-9) for row in found["budgets"])


def test_failures_are_counted_with_their_reasons(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    found = _headline(run)
    assert _card(found, "failures")["value"] == "1"
    assert found["failures"] == [{"reason": "RuntimeError: <b>out of memory</b>", "count": 1}]


def test_a_killed_search_is_no_running_one(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)
    with Lock(run.lock):
        words = run.lock.read_text()
    run.lock.write_text(words)
    found = _headline(run)
    assert found["state"] == "stopped" and found["sentence"].startswith("It was killed")


def _last(run: RunDirectory) -> float:
    watched = Watched(run)
    watched.follow()
    return watched.tracks.last
