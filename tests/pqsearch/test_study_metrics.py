"""What a study tells a monitoring system, without Ray."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pqsearch import rooms
from pqsearch.journal.file import Journal
from pqsearch.local import run_locally
from pqsearch.metric_names import METRICS, TAGS
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.settings import Settings
from pqsearch.study import Study
from pqsearch.study_metrics import WINDOW_SECONDS, Meter
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([3] * 6)
SCORE = separable(PROBLEM)
HALVING = {"factor": 3.0, "kind": "promotion", "window": 30}


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _study(path: Path, clock: _Clock, **changes: Any) -> Study:
    journal, events, _ = Journal.open(path, clock)
    search = rooms.load("algorithms", "genetic")(PROBLEM, 0, population=4)
    algorithm = {"name": "genetic", "population": 4}
    wanted: dict[str, Any] = {"evaluations": 12, "rungs": 2, "objectives": ("loss",), "algorithm": algorithm, **changes}
    return Study(PROBLEM, lambda prior: search, journal, Settings(**wanted), clock, events=events)


def _result(item: Item) -> Result:
    loss = SCORE(PROBLEM.encode(item.plan)) + 0.001 * item.repeat + 0.1 * (1 - item.rung)
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss / 2, 100), loss, {"train": 2.0}, None)


def _values(meter: Meter) -> dict[tuple[str, str | None], float]:
    return {(figure.name.removeprefix("pqsearch_"), figure.tag): figure.value for figure in meter.read()}


@pytest.mark.parametrize("name", METRICS)
def test_names_and_tags_are_those_that_prometheus_takes(name: str) -> None:
    assert re.fullmatch(r"pqsearch_[a-z]+(_[a-z]+)*", name)
    assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), "these endings are of other kinds"
    assert METRICS[name].tag not in TAGS
    assert METRICS[name].meaning.endswith(".")


def test_of_a_study_that_has_nothing_yet_all_is_told_but_the_best_plan(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock(), budgets={"cost": 9.0})
    told = _values(Meter(study, clock))
    assert told["evaluations", None] == told["busy_ratio", None] == told["evaluations_per_second", None] == 0
    assert told["evaluations_planned", None] == 12
    assert told["budget_limit", "cost"] == 9.0
    assert not any(name.startswith("best_") for name, _ in told)


def test_a_finished_study_tells_every_metric_that_there_is(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock(), confirm=2, confirm_repeats=2)
    run_locally(study, _result)
    found = {figure.name for figure in Meter(study, clock).read()}
    assert found == METRICS.keys() - ({"pqsearch_budget_limit"} if not study.settings.budgets else set())


def test_figures_are_those_of_the_journal(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock(), confirm=2, confirm_repeats=2)
    run_locally(study, _result)
    told, state = _values(Meter(study, clock)), study.state
    progress = state.progress()
    best = study.best()
    assert best is not None
    assert told["evaluations", None] == told["evaluations_planned", None] == progress["done"] == progress["total"]
    assert told["worker_seconds", None] == 2.0 * sum(len(row["measurements"]) for row in state.candidates())
    assert told["best_score", "loss"] == state.scores[best["id"]]
    assert told["best_accuracy", None] == pytest.approx(sum(best["repeats"]) / len(best["repeats"]))
    assert {budget: value for (name, budget), value in told.items() if name == "best_cost"} == best["costs"]
    assert told["cache_hits", None] == progress["duplicates"]
    assert told["measured", "0"] == told["measured", "1"] == told["promotions", "0"] == 12
    assert told["queue", None] == told["running", None] == 0


def test_an_accuracy_is_told_as_it_is_and_not_as_what_is_minimised(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock(), objectives=("accuracy",), confirm=0)
    run_locally(study, _result)
    told, best = _values(Meter(study, clock)), study.best()
    assert best is not None
    assert told["best_score", "accuracy"] == pytest.approx(best["accuracy"])


def test_the_best_plan_is_the_studys_own_at_any_time(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock(), confirm=2, confirm_repeats=2)
    meter = Meter(study, clock)
    looks = 0

    def look(item: Item) -> Result:
        nonlocal looks
        told, best = _values(meter), study.best()
        assert told.get(("best_score", "loss")) == (None if best is None else study.state.scores[best["id"]])
        looks += 1
        return _result(item)

    run_locally(study, look)
    assert looks >= 2 * 12


def test_halted_and_promoted_candidates_are_counted_by_rung(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock(), evaluations=30, rungs=3, halving=HALVING, confirm=0)
    run_locally(study, _result)
    told, rows = _values(Meter(study, clock)), study.candidates()
    climbed = [max(entry["rung"] for entry in row["measurements"]) for row in rows if row["measurements"]]
    for rung in range(3):
        assert told["measured", str(rung)] == sum(top >= rung for top in climbed)
    for rung in range(2):
        assert told["promotions", str(rung)] == told["measured", str(rung + 1)]
    assert told["halted", None] == sum(row["state"] == "stopped" for row in rows) > 0


def test_failures_and_what_waits_are_counted(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock())
    study.join("a", "1", {})
    study.join("b", "1", {})
    items = study.ask("a", 3)
    assert isinstance(items, list)
    told = _values(meter := Meter(study, clock))
    assert (told["running", None], told["busy_ratio", None], told["workers", None]) == (3, 0.5, 2)
    study.fail("a", items[0].id, "on purpose")
    study.leave("a", "1", "it ended")
    told = _values(meter)
    assert (told["failures", None], told["running", None], told["workers", None]) == (1, 0, 1)
    assert told["queue", None] == len(study.state.open) >= 2


def test_rates_are_means_over_the_last_minute(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", clock := _Clock())
    meter = Meter(study, clock)
    study.join("a", "1", {})
    _values(meter)
    items = study.ask("a", 2)
    assert isinstance(items, list)
    for item in items:
        study.fail("a", item.id, "on purpose")
    clock.now += 10
    told = _values(meter)
    assert told["evaluations_per_second", None] == pytest.approx(0.2)
    clock.now += WINDOW_SECONDS + 1
    assert _values(meter)["evaluations_per_second", None] == 0


def test_counts_of_promotions_come_back_from_the_journal(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", _Clock(), evaluations=30, rungs=3, halving=HALVING, confirm=0)
    run_locally(study, _result)
    before = dict(study.state.promotions)
    study._journal.close()
    assert dict(_study(tmp_path / "j", _Clock(), evaluations=30, rungs=3, halving=HALVING).state.promotions) == before
