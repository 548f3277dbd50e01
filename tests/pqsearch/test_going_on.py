"""A search that is over goes on: with more, with another algorithm, under other budgets; or ends when nothing better comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pqsearch import rooms
from pqsearch.cli import main
from pqsearch.journal.file import Journal, read_events
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Algorithm, Finished, Genes, Outcome, Proposal, Wait, uniform_genes
from pqsearch.run_dir import RunDirectory
from pqsearch.settings import Settings
from pqsearch.study import Study, read_study
from tests.conftest import write_spec
from tests.pqsearch.problems import Knapsack, separable

WIDE, NARROW = Knapsack([4] * 6), Knapsack([4] * 6, share=0.3)
SCORE = separable(WIDE)


class _Diary:
    """An algorithm that writes down what it is shown and told."""

    def __init__(self, inner: Algorithm) -> None:
        self._inner = inner
        self.shown: list[tuple[int, dict[str, Any]]] = []
        self.told: list[int] = []

    def ask(self, ids: Any) -> list[Proposal] | Wait | Finished:
        return self._inner.ask(ids)

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self.shown.append((id, memo))
        self._inner.asked(id, genes, memo)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self.told.append(id)
        self._inner.tell(id, genes, outcome)


def _open(
    path: Path, evaluations: int, algorithm: str = "genetic", problem: Knapsack = WIDE, **settings: Any
) -> tuple[Study, _Diary]:
    journal, events, _ = Journal.open(path, lambda: 0.0)
    diary = _Diary(rooms.load("algorithms", algorithm)(problem, 0))
    wanted = Settings(
        evaluations, objectives=("loss",), algorithm={"name": algorithm}, budgets={"bits": float(problem.limits[0])}
    )
    seeds = [Proposal(tuple(map(int, genes)), {"role": "uniform"}, exact=True) for genes in uniform_genes(problem)[:1]]
    study = Study(
        problem, lambda prior: diary, journal, replace(wanted, **settings), lambda: 0.0, events=events, seeds=seeds
    )
    return study, diary


def _result(item: Item) -> Result:
    loss = SCORE(WIDE.encode(item.plan))
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss / 2, 100), loss, {"train": 1.0})


def test_another_algorithm_is_told_what_the_one_before_found_and_reads_no_foreign_memo(tmp_path: Path) -> None:
    first, _ = _open(tmp_path / "j", 20)
    run_locally(first, _result)
    second, diary = _open(tmp_path / "j", 30, "particle_swarm")
    assert diary.told == list(range(20))
    assert all(memo == {} for _, memo in diary.shown)
    run_locally(second, _result)
    state = read_study(tmp_path / "j")
    assert state.counts["done"] == 30
    assert all(row["times_evaluated"] == 1 for row in state.candidates() if row["state"] == "done")
    again, diary = _open(tmp_path / "j", 30, "particle_swarm")
    assert again.finished
    assert [bool(memo) for _, memo in diary.shown] == [id >= 20 for id, _ in diary.shown]


def test_under_narrower_budgets_plans_that_break_them_do_not_count_and_new_uniform_ones_are_evaluated(
    tmp_path: Path,
) -> None:
    first, _ = _open(tmp_path / "j", 20)
    run_locally(first, _result)
    second, diary = _open(tmp_path / "j", 40, problem=NARROW)
    over = {row["id"] for row in second.candidates() if row["costs"]["bits"] > NARROW.limits[0]}
    assert over
    assert not over & set(diary.told)
    run_locally(second, _result)
    leaders = second.state.leading(100)
    assert leaders
    assert all(row["costs"]["bits"] <= NARROW.limits[0] for row in leaders)
    uniform = second.best("uniform")
    assert uniform is not None and uniform["genes"] == uniform_genes(NARROW)[0].tolist()


def test_a_search_that_went_on_replays_to_the_same_suggestions(tmp_path: Path) -> None:
    for path in (tmp_path / "whole", tmp_path / "cut"):
        study, _ = _open(path, 20)
        run_locally(study, _result)
    whole, _ = _open(tmp_path / "whole", 40, "bee_colony", NARROW)
    run_locally(whole, _result)
    for most in (3, 9, None):
        study, _ = _open(tmp_path / "cut", 40, "bee_colony", NARROW)
        run_locally(study, _result, most=most)

    def asked(path: Path) -> list[Any]:
        return [event["genes"] for event in read_events(path) if event["type"] == "asked"]

    assert asked(tmp_path / "cut") == asked(tmp_path / "whole")


def test_patience_ends_a_search_that_finds_nothing_better(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", 400, "random_search", patience=15)
    run_locally(study, _result)
    state = read_study(tmp_path / "j")
    assert state.stopped == "patience"
    values = [row["values"][0] for row in state.candidates() if row["state"] == "done"]
    assert 15 < len(values) < 400
    assert min(values[:-15]) <= min(values[-15:])


def test_more_patience_goes_on(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", 400, "random_search", patience=5)
    run_locally(study, _result)
    before = study.state.done
    more, _ = _open(tmp_path / "j", 400, "random_search", patience=30)
    assert not more.finished
    run_locally(more, _result)
    assert more.state.done > before


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_the_command_goes_on_with_another_algorithm_and_other_budgets(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, study__evaluations=6)
    assert main(["search", str(spec)]) == 0
    other = write_spec(
        tmp_path, study__evaluations=9, algorithm={"name": "bee_colony"}, budgets__flops=0.5, workers__count=1
    )
    assert main(["search", str(other)]) == 0
    state = read_study(RunDirectory(tmp_path / "run").journal)
    assert state.finished and state.evaluations == 9
    best = state.best()
    assert best is not None and best["costs"]["flops"] <= 0.5 * (1 + 1e-9)
    assert all(row["times_evaluated"] == 1 for row in state.candidates() if row["state"] == "done")
