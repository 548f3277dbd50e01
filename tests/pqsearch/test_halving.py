"""Successive halving: who goes on, alone and in a whole study, and what the algorithm is told of those that stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pqsearch import rooms
from pqsearch.halving import Ladder, best_of_generation, goes_on
from pqsearch.journal.file import Journal, read_events
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Genes, Outcome, Proposal
from pqsearch.settings import Settings
from pqsearch.study import Study, read_study
from pqsearch.study_fold import Task
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([4] * 6)
SCORE = separable(PROBLEM)
HALVING = {"factor": 3.0, "kind": "stopping", "window": 30}
PROMOTION = {**HALVING, "kind": "promotion"}


class _Watched:
    """An algorithm of ours that writes down what it is told."""

    def __init__(self) -> None:
        self._inner = rooms.load("algorithms", "genetic")(PROBLEM, 0, population=6)
        self.told: list[tuple[int, int]] = []

    def ask(self, ids: Any) -> Any:
        return self._inner.ask(ids)

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._inner.asked(id, genes, memo)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self.told.append((id, outcome.rung))
        self._inner.tell(id, genes, outcome)


def _open(
    path: Path, settings: Settings, seeds: tuple[Proposal, ...] = (), clock: Callable[[], float] = lambda: 0.0
) -> tuple[Study, _Watched]:
    journal, events, _ = Journal.open(path, clock)
    algorithm = _Watched()
    return Study(PROBLEM, lambda prior: algorithm, journal, settings, clock, events=events, seeds=seeds), algorithm


def _result(item: Item) -> Result:
    loss = SCORE(PROBLEM.encode(item.plan)) + 0.1 * (2 - item.rung)
    weights = None if item.last else f"{item.id}-{item.repeat}-{item.rung}.pth"
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss / 2, 100), loss, {"train": 1.0}, weights)


def _settings(**values: Any) -> Settings:
    return Settings(**{"evaluations": 40, "rungs": 3, "objectives": ("loss",), "halving": HALVING, **values})


def test_one_in_so_many_of_the_last_ones_goes_on() -> None:
    before = [(value / 10,) for value in range(9)]
    assert goes_on(before, (0.15,), 3.0, 30)
    assert not goes_on(before, (0.35,), 3.0, 30)
    assert goes_on([], (9.0,), 3.0, 30), "the first of all has nobody to compare with"


def test_only_the_latest_are_compared_with() -> None:
    before = [(0.0,)] * 50 + [(1.0,)] * 8
    assert goes_on(before, (0.5,), 3.0, 9)
    assert not goes_on(before, (0.5,), 3.0, 50)


def test_several_objectives_are_ranked_by_front() -> None:
    before = [(0.1, 0.9), (0.9, 0.1), (0.95, 0.95), (0.96, 0.96), (0.97, 0.97)]
    assert goes_on(before, (0.5, 0.5), 2.0, 30)
    assert not goes_on(before, (0.98, 0.98), 2.0, 30)


def test_the_best_third_of_a_rung_is_promoted_in_order_and_each_once() -> None:
    ladder = Ladder()
    rungs = {0: [((float(value),), value) for value in (5, 3, 4, 1, 2, 0)]}
    paused = {(id, 0): Task(id, 0, rung=1) for id in range(6)}
    found = []
    while (id := ladder.next(rungs, paused, 3.0)) is not None:
        found.append(id)
        del paused[id, 0]
    assert found == [0, 1]
    rungs[0] += [((0.5,), 6), ((9.0,), 7), ((9.5,), 8)]
    paused |= {(id, 0): Task(id, 0, rung=1) for id in (6, 7, 8)}
    assert ladder.next(rungs, paused, 3.0) == 6


def test_who_pauses_on_a_higher_rung_is_not_promoted_from_the_lower_one_again() -> None:
    ladder, rungs = Ladder(), {0: [((0.0,), 0), ((1.0,), 1), ((2.0,), 2)]}
    assert ladder.next(rungs, {(0, 0): Task(0, 0, rung=2)}, 3.0) is None


def test_of_a_generation_the_best_on_the_lowest_rung_go_on() -> None:
    assert best_of_generation({0: [((0.3,), 4), ((0.1,), 5), ((0.2,), 6)], 1: [((0.0,), 1)]}, 2.0) == [5]


@pytest.mark.parametrize("halving", [HALVING, PROMOTION])
def test_few_plans_reach_the_last_rung_and_the_best_of_all_is_among_them(
    tmp_path: Path, halving: dict[str, Any]
) -> None:
    study, algorithm = _open(tmp_path / "j", _settings(halving=halving))
    run_locally(study, _result)
    state = read_study(tmp_path / "j")
    assert state.finished
    rungs = [
        sum(entry["rung"] == rung for row in state.candidates() for entry in row["measurements"]) for rung in range(3)
    ]
    assert rungs[0] == 40
    assert rungs[2] < rungs[1] < 25
    assert state.counts["stopped"] + state.counts["done"] == 40
    done = [row for row in state.candidates() if row["state"] == "done"]
    best = min(SCORE(tuple(row["genes"])) for row in state.candidates())
    assert min(SCORE(tuple(row["genes"])) for row in done) == best
    assert {rung for _, rung in algorithm.told} == {0, 1, 2}


def test_a_stopped_plan_is_told_with_its_rung_and_never_evaluated_again(tmp_path: Path) -> None:
    study, algorithm = _open(tmp_path / "j", _settings())
    run_locally(study, _result)
    stopped = [row for row in study.candidates() if row["state"] == "stopped"]
    assert stopped
    for row in stopped:
        assert (row["id"], row["rung"]) in algorithm.told
        assert row["times_evaluated"] == 1
    assert all(row["state"] == "done" for row in study.state.leading(100))


def test_a_promoted_plan_is_told_again_with_its_higher_rung(tmp_path: Path) -> None:
    study, algorithm = _open(tmp_path / "j", _settings(halving=PROMOTION))
    run_locally(study, _result)
    promoted = [id for event in read_events(tmp_path / "j") if event["type"] == "promoted" for id in event["ids"]]
    assert promoted
    assert all((id, 0) in algorithm.told and (id, 1) in algorithm.told for id in promoted)


def test_rungs_climbed_once_more_are_counted_apart_and_change_nothing_else(tmp_path: Path) -> None:
    def evaluate(item: Item) -> Result:
        return replace(_result(item), recomputed=item.rung)

    plain, _ = _open(tmp_path / "plain", _settings(halving=PROMOTION))
    run_locally(plain, _result)
    study, _ = _open(tmp_path / "j", _settings(halving=PROMOTION))
    run_locally(study, evaluate)
    state = read_study(tmp_path / "j")
    climbed = [entry["rung"] for row in state.candidates() for entry in row["measurements"]]
    assert state.recomputed == study.state.recomputed == state.progress()["recomputed"] == sum(climbed) > 0
    assert plain.state.recomputed == 0
    assert state.evaluations == plain.state.evaluations
    assert {**study.progress(), "recomputed": 0} == plain.progress()


def test_plans_that_the_search_is_compared_with_climb_all_rungs(tmp_path: Path) -> None:
    cheapest = Proposal((0,) * 6, {"role": "uniform"}, exact=True)
    study, _ = _open(tmp_path / "j", _settings(), (cheapest,))
    run_locally(study, _result)
    assert study.best("uniform") is not None


def test_whole_generations_are_halved_at_the_barrier(tmp_path: Path) -> None:
    study, algorithm = _open(tmp_path / "j", _settings(generation=9, evaluations=18))
    run_locally(study, _result)
    events = read_events(tmp_path / "j")
    assert [len(event["ids"]) for event in events if event["type"] == "promoted"] == [3, 1, 3, 1]
    assert [id for id, _ in algorithm.told] == list(range(18)), "told together, in their order"
    assert study.state.counts["done"] == 2


@pytest.mark.parametrize("settings", [{}, {"halving": PROMOTION}, {"generation": 6}])
def test_a_halved_search_cut_anywhere_goes_on_as_the_unbroken_one(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole, _ = _open(tmp_path / "whole", _settings(**settings))
    run_locally(whole, _result)
    facts = [_fact(event) for event in read_events(tmp_path / "whole") if event["type"] != "opened"]
    for cut in range(3, 60, 7):
        path = tmp_path / f"cut-{cut}"
        study, _ = _open(path, _settings(**settings))
        run_locally(study, _result, most=cut)
        again, _ = _open(path, _settings(**settings))
        run_locally(again, _result)
        assert [_fact(event) for event in read_events(path) if event["type"] != "opened"] == facts


def _fact(event: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        str(event.get(key)) for key in ("type", "id", "genes", "rung", "loss", "then", "ids", "left", "reason")
    )
