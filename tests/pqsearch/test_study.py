"""The study without Ray: what it hands out, what it remembers, and what it does after a crash at any point."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.journal.file import Journal, read_events
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Finished, Proposal, Wait
from pqsearch.settings import Settings
from pqsearch.study import Study, read_study
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([3] * 6)
SCORE = separable(PROBLEM)
SETTINGS = Settings(evaluations=12, rungs=2, confirm=2, confirm_repeats=2)
SEEDS = (
    Proposal((0,) * 6, {"role": "uniform"}, exact=True),
    Proposal((0,) * 6, {"role": "uniform_filled"}),
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _open(
    path: Path,
    settings: Settings = SETTINGS,
    *,
    clock: Callable[[], float] | None = None,
    algorithm: str = "genetic",
    problem: Knapsack = PROBLEM,
    seeds: Sequence[Proposal] = SEEDS,
    fingerprint: dict[str, Any] | None = None,
) -> tuple[Study, Journal]:
    clock = clock or Clock()
    journal, events, _ = Journal.open(path, clock)
    options = {"population": 4} if algorithm == "genetic" else {}
    search = rooms.load("algorithms", algorithm)(problem, 0, **options)
    study = Study(
        problem, lambda prior: search, journal, settings, clock,
        events=events, seeds=seeds, fingerprint=fingerprint or {"data": "a"},
    )  # fmt: skip
    return study, journal


def _result(item: Item, problem: Knapsack = PROBLEM) -> Result:
    """A score that depends on plan, rung and repeat alone."""
    loss = SCORE(problem.encode(item.plan)) if problem is PROBLEM else 0.5
    loss += 0.001 * item.repeat + 0.1 * (1 - item.rung)
    weights = None if item.last else f"{item.id}-{item.repeat}-{item.rung}.pth"
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss, 100), loss, {"train": 1.0}, weights)


def _facts(path: Path) -> list[tuple[Any, ...]]:
    """What was asked and found, without times and epochs."""
    keys = ("type", "id", "genes", "repeat", "rung", "loss", "reason", "ids")
    return [
        tuple(str(event.get(key)) for key in keys)
        for event in read_events(path)
        if event["type"] not in ("opened", "died")
    ]


def test_a_search_runs_to_its_end_and_confirms_its_leaders(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    run_locally(study, _result)
    state = read_study(tmp_path / "j")
    assert state.finished
    assert state.stopped == "evaluations"
    done = [row for row in state.candidates() if row["state"] == "done"]
    assert len({row["plan_hash"] for row in done}) == len(done) == 12
    confirmed = [row for row in done if len(row["repeats"]) == 3]
    leaders = sorted(done, key=lambda row: row["values"][-1])[:2]
    assert {row["id"] for row in leaders} <= {row["id"] for row in confirmed}
    assert {"uniform", "uniform_filled"} <= {row["role"] for row in confirmed}
    best = study.best()
    assert best is not None and best["id"] == leaders[0]["id"]
    assert study.best("uniform")["genes"] == [0] * 6  # type: ignore[index]


def test_seeds_come_first_and_exact_ones_are_not_filled(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    first = study.ask("a")
    assert isinstance(first, list) and PROBLEM.encode(first[0].plan) == (0,) * 6
    second = study.ask("b")
    assert isinstance(second, list)
    assert PROBLEM.encode(second[0].plan) == tuple(PROBLEM.repair(np.zeros((1, 6), dtype=np.int64))[0])


def test_a_candidate_climbs_its_rungs_on_the_worker_that_has_it(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    (first,) = study.ask("a")  # type: ignore[misc]
    study.report("a", [_result(first)])
    (second,) = study.ask("a")  # type: ignore[misc]
    assert (second.id, second.rung, second.start, second.last) == (first.id, 1, "0-0-0.pth", True)


def test_asking_again_without_reporting_gives_the_same_item(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    assert study.ask("a") == study.ask("a")


def test_several_items_can_be_asked_at_once(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    items = study.ask("a", 3)
    assert isinstance(items, list)
    assert [item.id for item in items] == [0, 1, 2]
    study.report("a", [_result(item) for item in items])
    again = study.ask("a", 3)
    assert isinstance(again, list)
    assert [(item.id, item.rung) for item in again] == [(0, 1), (1, 1), (2, 1)]


def test_a_study_that_winds_up_takes_in_and_hands_nothing_out_and_the_next_one_goes_on(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    (first,) = study.ask("a")  # type: ignore[misc]
    study.wind_up()
    study.report("a", [_result(first)])
    assert isinstance(study.ask("a"), Wait) and isinstance(study.ask("b"), Wait)
    again, _ = _open(tmp_path / "j")
    (item,) = again.ask("b")  # type: ignore[misc]
    assert (item.id, item.rung) == (first.id, 1)


def test_reporting_twice_counts_once(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    (item,) = study.ask("a")  # type: ignore[misc]
    for _ in range(3):
        study.report("a", [_result(item)])
    assert sum(event["type"] == "reported" for event in read_events(tmp_path / "j")) == 1


@pytest.mark.parametrize("algorithm", rooms.names("algorithms"))
def test_a_search_cut_at_any_event_goes_on_as_the_unbroken_one(algorithm: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run_locally(_open(whole, algorithm=algorithm)[0], _result)
    lines = whole.read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines), 5):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(b"".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])
        paid = {(e["id"], e["rung"], e["repeat"]) for e in read_events(path) if e["type"] == "reported"}
        started = []

        def evaluate(item: Item, started: list[tuple[int, int, int]] = started) -> Result:
            started.append((item.id, item.rung, item.repeat))
            return _result(item)

        run_locally(_open(path, algorithm=algorithm)[0], evaluate)
        assert _facts(path) == _facts(whole)
        assert not paid & set(started)


def test_what_was_in_flight_is_handed_out_before_anything_new(tmp_path: Path) -> None:
    study, journal = _open(tmp_path / "j")
    (a,), (b,) = study.ask("a"), study.ask("b")  # type: ignore[misc]
    study.report("a", [_result(a)])
    journal.close()
    study, _ = _open(tmp_path / "j")
    first, second, third = (study.ask(seat)[0] for seat in "cde")  # type: ignore[index]
    assert (first.id, first.rung, first.start) == (a.id, 1, "0-0-0.pth")
    assert (second.id, second.rung) == (b.id, 0)
    assert third.id == 2


def test_a_dead_workers_candidate_goes_to_the_next_one(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    study.join("a", "1", {})
    (item,) = study.ask("a")  # type: ignore[misc]
    study.leave("a", None, "killed", died=True)
    assert study.ask("b") == [item]


def test_a_new_incarnation_frees_what_the_old_one_held(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    study.join("a", "1", {})
    (item,) = study.ask("a")  # type: ignore[misc]
    study.join("a", "2", {})
    study.join("b", "1", {})
    assert study.ask("b") == [item]


def test_a_candidate_that_took_down_two_workers_is_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    for incarnation in "12":
        study.join("a", incarnation, {})
        (item,) = study.ask("a")  # type: ignore[misc]
        assert item.id == 0
        study.leave("a", incarnation, "out of memory", died=True)
    row = study.candidates()[0]
    assert row["state"] == "failed"
    assert "took down 2 workers" in row["failure"]
    assert study.ask("a")[0].id == 1  # type: ignore[index]
    assert study.aborted is None


def test_leaving_in_peace_costs_the_candidate_nothing(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    for incarnation in "1234":
        study.join("a", incarnation, {})
        study.ask("a")
        study.leave("a", incarnation, "scaled down")
    assert study.candidates()[0]["state"] == "running"


def test_a_failed_evaluation_keeps_its_reason_and_ends_that_candidate_alone(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")

    def evaluate(item: Item) -> Result:
        if item.id == 3:
            raise ArithmeticError("no luck")
        if item.id == 4:
            return Result(item.id, item.rung, item.repeat, None, None, {}, failure="diverged: the loss became nan")
        return _result(item)

    run_locally(study, evaluate)
    rows = study.candidates()
    assert rows[3]["failure"] == "ArithmeticError: no luck"
    assert rows[4]["failure"] == "diverged: the loss became nan"
    assert sum(row["state"] == "done" for row in rows) == 10
    assert study.finished


def test_three_failed_set_ups_of_a_seat_stop_the_search_with_the_reason(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    for _ in range(3):
        assert study.aborted is None
        study.setup_failed("a", "FileNotFoundError: data are gone")
        study.leave("a", None, "the worker died", died=True)
    assert (
        study.aborted
        == "a could not work 3 times: FileNotFoundError: data are gone; mend that, then the same command continues"
    )
    assert isinstance(study.ask("b"), Finished)


def test_a_worker_that_dies_before_it_can_say_why_counts_as_a_failed_set_up(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    for _ in range(3):
        study.leave("a", None, "killed by the system", died=True)
    assert study.aborted == "a could not work 3 times: killed by the system; mend that, then the same command continues"


def test_a_machine_that_fails_its_worker_costs_no_candidate_its_rank(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    held = []
    for number in range(3):
        assert study.aborted is None
        study.join("a", f"a{number}", {})
        [item] = study.ask("a")
        held.append(item.id)
        study.stumbled("a", f"a{number}", "OSError: No space left on device")
        study.leave("a", None, "the worker died", died=True)
    assert held == [0, 0, 0], "the same candidate each time, and nobody blames it"
    assert study.state.counts["failed"] == 0
    assert study.aborted is not None
    assert study.aborted.startswith("a could not work 3 times: OSError: No space left on device")


def test_a_plan_asked_twice_is_evaluated_once_and_told_twice(tmp_path: Path) -> None:
    seeds = [Proposal((1,) * 6, {"role": "uniform"}), Proposal((1,) * 6, {"role": "uniform_filled"})]
    study, _ = _open(tmp_path / "j", replace(SETTINGS, evaluations=3), seeds=seeds)
    run_locally(study, _result)
    rows = study.candidates()
    assert rows[1]["same_as"] == 0
    assert rows[1]["state"] == "same"
    assert study.best("uniform_filled") == study.best("uniform")
    assert sum(row["state"] == "done" for row in rows) == 3


def test_a_space_with_few_plans_ends_as_exhausted(tmp_path: Path) -> None:
    problem = Knapsack([2, 2], share=1.0)
    study, _ = _open(
        tmp_path / "j", replace(SETTINGS, evaluations=50), problem=problem, seeds=(), algorithm="random_search"
    )
    run_locally(study, lambda item: _result(item, problem))
    assert study.state.stopped == "exhausted"
    assert study.finished


def test_an_algorithm_that_is_done_ends_the_search(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", replace(SETTINGS, evaluations=50), seeds=(), algorithm="uniform_plans")
    run_locally(study, _result)
    assert study.state.stopped == "algorithm finished"
    assert study.finished
    assert study.state.evaluations >= 1


def test_the_hours_end_a_search_and_count_over_sessions(tmp_path: Path) -> None:
    clock = Clock()

    def evaluate(item: Item) -> Result:
        clock.now += 600
        return _result(item)

    settings = replace(SETTINGS, hours=1.0)
    study, journal = _open(tmp_path / "j", settings, clock=clock)
    run_locally(study, evaluate, most=3)
    journal.close()
    clock.now += 10**6  # nobody searched meanwhile
    study, _ = _open(tmp_path / "j", settings, clock=clock)
    run_locally(study, evaluate)
    assert study.state.stopped == "hours"
    assert study.finished
    assert 3600 <= study.state.seconds() <= 3600 + 2 * 600
    assert study.best() is not None


def test_a_larger_number_of_evaluations_goes_on_where_it_ended(tmp_path: Path) -> None:
    study, journal = _open(tmp_path / "j")
    run_locally(study, _result)
    journal.close()
    before = len(read_events(tmp_path / "j"))
    study, _ = _open(tmp_path / "j", replace(SETTINGS, evaluations=15))
    run_locally(study, _result)
    fresh = read_events(tmp_path / "j")[before:]
    assert sorted({event["id"] for event in fresh if event["type"] == "asked"}) == [12, 13, 14]
    assert study.finished


def test_another_fingerprint_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    _, journal = _open(tmp_path / "j", fingerprint={"data": "a", "rungs": 1})
    journal.close()
    with pytest.raises(UserError, match=r"rungs: the search in .* was made with 1, this one has 2"):
        _open(tmp_path / "j", fingerprint={"data": "a", "rungs": 2})


def test_progress_says_where_the_search_stands(tmp_path: Path) -> None:
    clock = Clock()
    study, _ = _open(tmp_path / "j", clock=clock)
    study.join("a", "1", {})
    for _ in range(2):
        (item,) = study.ask("a")  # type: ignore[misc]
        clock.now += 5
        study.report("a", [_result(item)])
    study.ask("a")
    progress = study.progress()
    assert (progress["done"], progress["running"], progress["workers"]) == (1, 1, 1)
    assert progress["rate"] == pytest.approx(1 / 10)
    assert progress["best"]["costs"] == {"bits": PROBLEM.costs_of(item.plan)["bits"]}
    assert progress["eta_seconds"] > 0


def test_waiting_workers_are_told_to_wait_until_the_last_one_is_done(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=1, rungs=1))
    (item,) = study.ask("a")  # type: ignore[misc]
    assert isinstance(study.ask("b"), Wait)
    study.report("a", [_result(replace(item, last=True))])
    assert isinstance(study.ask("b"), Finished)


def test_a_copied_journal_can_be_read_while_the_study_goes_on(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j")
    run_locally(study, _result, most=7)
    shutil.copy(tmp_path / "j", tmp_path / "copy")
    assert read_study(tmp_path / "copy").candidates() == study.candidates()


def test_how_the_scores_of_images_spread_and_changed_is_kept_where_they_are_fractions(tmp_path: Path) -> None:
    def scored(item: Item) -> Result:
        found = _result(item)
        assert found.accuracy is not None
        return replace(
            found, accuracy=replace(found.accuracy, deviation=0.2), lost=3.5, gained=1.25, squares=0.75
        )  # fmt: skip

    study, _ = _open(tmp_path / "j")
    run_locally(study, scored)
    best = read_study(tmp_path / "j").best()
    assert best is not None and best["deviation"] == 0.2
    last = best["measurements"][-1]
    assert (last["lost"], last["gained"], last["squares"], last["deviation"]) == (3.5, 1.25, 0.75, 0.2)
    drop = study.state.drop(best["id"])
    assert drop is not None and drop.value == pytest.approx(2.25)
    assert drop.standard_error == pytest.approx(100 * ((0.75 + 1) / 100 - 0.0225**2) ** 0.5 / 10)
