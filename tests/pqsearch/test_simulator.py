"""Searches on workers that are not there: the real study, time that jumps, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.cli import main
from pqsearch.journal.memory import MemoryJournal
from pqsearch.settings import Settings
from pqsearch.simulated_landscapes import Fitted, MadeUp
from pqsearch.simulator import Clock, Pace, Simulated, simulate
from pqsearch.study import Study
from tests.conftest import write_spec
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([5] * 10)
SECOND = Pace([[1.0]])
LANDSCAPE = MadeUp(PROBLEM.levels, 0)


def _run(workers: int, settings: Settings, pace: Pace = SECOND, seed: int = 0) -> tuple[Simulated, Study]:
    clock = Clock()
    algorithm = rooms.load("algorithms", "genetic")(PROBLEM, 0)
    study = Study(PROBLEM, lambda prior: algorithm, MemoryJournal(clock), settings, clock)
    return simulate(study, clock, workers, pace, LANDSCAPE, seed), study


def test_as_many_workers_as_divide_the_evaluations_are_busy_all_the_time() -> None:
    found, study = _run(8, Settings(evaluations=80))
    assert (found.evaluations, found.wall, found.busy) == (80, 10.0, 1.0)
    assert study.finished


def test_workers_that_start_late_make_the_search_longer_and_not_less_busy() -> None:
    found, _ = _run(8, Settings(evaluations=80), replace(SECOND, start=5.0))
    assert (found.wall, found.busy) == (15.0, 1.0)


def test_the_same_seed_gives_the_same_search_and_another_one_does_not() -> None:
    pace = Pace([[0.5, 1.0, 4.0]], failures=0.1)
    runs = [_run(5, Settings(evaluations=60), pace, seed) for seed in (0, 0, 1)]
    assert runs[0][0].wall == runs[1][0].wall != runs[2][0].wall
    assert runs[0][1].candidates() == runs[1][1].candidates()


def test_failures_are_as_frequent_as_asked_for_and_stop_nothing() -> None:
    found, study = _run(16, Settings(evaluations=400), replace(SECOND, failures=0.25))
    assert 60 < found.failed < 140
    assert study.state.done == 400


def test_a_barrier_makes_workers_wait() -> None:
    pace = Pace([[0.5, 1.0, 4.0]])
    free, _ = _run(6, Settings(evaluations=60), pace)
    synchronous, _ = _run(6, Settings(evaluations=60, generation=6), pace)
    assert synchronous.busy < 0.8 * free.busy


def test_stopping_bad_plans_early_costs_less_worker_time() -> None:
    pace = Pace([[1.0], [9.0]])
    whole, _ = _run(4, Settings(evaluations=100, rungs=2), pace)
    halved, study = _run(
        4, Settings(evaluations=100, rungs=2, halving={"factor": 3.0, "kind": "stopping", "window": 30}), pace
    )
    assert halved.worker_seconds < 0.6 * whole.worker_seconds
    assert study.best() is not None


def test_the_best_plan_is_noted_as_it_comes_along() -> None:
    found, _ = _run(4, Settings(evaluations=200))
    assert [done for done, *_ in found.best] == sorted(done for done, *_ in found.best)
    assert len(found.best) > 10
    assert found.best[-1][2] > found.best[0][2]


def test_a_landscape_fitted_to_plans_knows_which_level_costs_what() -> None:
    rng = np.random.default_rng(0)
    genes = rng.integers(0, 5, size=(400, 10))
    fitted = Fitted(PROBLEM.levels, genes, LANDSCAPE.accuracies(genes), 1000)
    others = rng.integers(0, 5, size=(200, 10))
    assert np.corrcoef(fitted.accuracies(others), LANDSCAPE.accuracies(others))[0, 1] > 0.98


def test_the_command_compares_algorithms_and_writes_everything_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = write_spec(tmp_path), tmp_path / "found.json"
    options = ["--workers", "20", "--evaluations", "100", "--seconds", "3", "--algorithm", "genetic"]
    options += ["--algorithm", "random_search", "--json", str(out)]
    assert main(["simulate", str(spec), *options]) == 0
    table = capsys.readouterr().out
    assert "genetic" in table and "random_search" in table
    found = json.loads(out.read_text())
    assert found["genetic"]["evaluations"] == 100
    assert not (tmp_path / "run").exists(), "a simulation leaves no run"
    assert main(["simulate", str(spec), *options[:-1], str(spec / "found.json")]) == 2
    assert capsys.readouterr().err.startswith(f"--json {spec}/found.json: cannot be written")


def test_mistakes_are_told_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write_spec(tmp_path)
    assert main(["simulate", str(spec), "--workers", "0", "--evaluations", "10", "--failures", "2"]) == 2
    told = capsys.readouterr().err
    assert "--workers: must be 1 to 100,000, got 0" in told
    assert "--failures: must be 0 to 1, got 2.0" in told
    assert "--seconds: is required without --like" in told
    assert "Traceback" not in told


def test_the_first_of_a_ranking_are_where_the_whole_ranking_begins() -> None:
    """Failures, and leaders that are measured again and then come first."""
    pace = Pace([[1.0]], failures=0.1, noise=0.0)
    found, study = _run(4, Settings(evaluations=120, confirm=5, confirm_repeats=2), pace)
    assert found.failed and study.state.confirmed
    whole = [row["id"] for row in study.leading(10_000)]
    assert len(whole) > 80
    for number in (1, 2, 5, 6, 40, len(whole) - 1):
        assert [row["id"] for row in study.leading(number)] == whole[:number]
    assert study.leading(0) == []
