"""The algorithms of pqsearch as contenders, one candidate at a time and many in flight."""

from __future__ import annotations

import numpy as np
import pytest

from arena.contest import Objective, run, seeds_of
from arena.names import contenders
from arena.ours import ours, run_async
from pqsearch import rooms
from pqsearch.problem import FloatArray, Genes, IntArray
from tests.benchmarks.standin import landscape
from tests.pqsearch.problems import LISTS, Knapsack

PROBLEM, SCORE, TRUTH = landscape()
NAMES = rooms.names("algorithms")


class _Watched(Objective):
    """Notes what is asked for."""

    plans: list[Genes]

    def __call__(self, genes: IntArray, exact: bool = False) -> FloatArray:
        self.plans.extend(map(tuple, genes.tolist()))
        return super().__call__(genes, exact)


def _plans(name: str, evaluations: int, in_flight: int = 1) -> list[Genes]:
    objective = _Watched(PROBLEM, SCORE, TRUTH, evaluations, 0)
    objective.plans = []
    ours(name, [1.0, 2.0, 5.0], in_flight)(PROBLEM, objective, evaluations, 0)
    return objective.plans


@pytest.mark.parametrize("name", NAMES)
def test_an_algorithm_spends_its_evaluations_on_distinct_plans_seeds_first(name: str) -> None:
    plans = _plans(name, 20)
    assert len(plans) == len(set(plans))
    assert len(seeds_of(PROBLEM)) <= len(plans) < 20 if name in LISTS else len(plans) == 20
    assert plans[: len(seeds_of(PROBLEM))] == [proposal.genes for proposal in seeds_of(PROBLEM)]


@pytest.mark.parametrize("name", NAMES)
def test_runs_repeat_themselves(name: str) -> None:
    first, second = (run(contenders()[name], PROBLEM, SCORE, TRUTH, 15, 3).values for _ in range(2))
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_many_in_flight_come_back_in_the_order_of_their_times(name: str) -> None:
    plans = _plans(name, 40, 16)
    assert len(plans) == len(set(plans)) <= 40
    first, second = (
        run_async(name, PROBLEM, SCORE, TRUTH, 40, 1, [0.5, 1.0, 3.0], in_flight=16).values for _ in range(2)
    )
    assert first.tolist() == second.tolist()


def test_a_slow_candidate_is_overtaken() -> None:
    """With equal times candidates come back in the order asked, with unequal ones they do not."""
    asked = _plans("random_search", 30)
    assert _plans("random_search", 30, 8) != asked
    assert set(_plans("random_search", 30, 8)) == set(asked)


def test_with_one_worker_times_change_nothing() -> None:
    plain = run(ours("genetic"), PROBLEM, SCORE, TRUTH, 30, 0).values
    assert run_async("genetic", PROBLEM, SCORE, TRUTH, 30, 0, [1.0, 9.0], in_flight=1).values.tolist() == plain.tolist()


def test_an_exhausted_algorithm_stops() -> None:
    def flat(genes: IntArray, *rest: object) -> FloatArray:
        return np.full(len(genes), 0.5)

    trace = run(ours("random_search"), Knapsack([2, 2, 2], share=1.0), flat, flat, 100, 0)
    assert trace.used <= 8


def test_measured_times_bring_contenders_with_many_in_flight() -> None:
    assert {f"{name}@16" for name in NAMES} <= set(contenders([1.0]))
    assert not any("@" in name for name in contenders())
