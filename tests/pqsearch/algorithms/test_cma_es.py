"""What CMA-ES with margin does beyond what every algorithm does."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from pqsearch.problem import Genes, Outcome
from tests.pqsearch.algorithms.folding import hand_out, make, tell_all
from tests.pqsearch.problems import Free, Knapsack, Score, coupled, separable

PROBLEM = Free([9] * 10)
WANTED = np.array([6] * 10)


def _sphere(genes: Genes) -> float:
    return float(((np.array(genes) - WANTED) ** 2).sum())


def _search(algorithm: Any, problem: Knapsack, score: Score, evaluations: int, first: int = 0) -> list[float]:
    found = []
    for id in range(first, first + evaluations):
        for _, genes, _ in hand_out(algorithm, problem, id, 1):
            found.append(score(genes))
            algorithm.tell(id, genes, Outcome((found[-1],)))
    return found


def _mean(algorithm: Any) -> np.ndarray:
    return np.array(algorithm._cma.mean)


def test_the_integer_sphere_is_descended() -> None:
    assert np.median([min(_search(make("cma_es", PROBLEM, seed), PROBLEM, _sphere, 400)) for seed in range(3)]) <= 1


def test_the_optimum_of_a_small_knapsack_is_found() -> None:
    problem = Knapsack([3] * 9, weights=[3, 1, 4, 1, 5, 9, 2, 6, 5])
    score = separable(problem)
    plans = np.array(list(product(range(3), repeat=9)))
    optimum = min(score(tuple(row)) for row in plans[(problem.costs(plans) <= problem.limits).all(1)].tolist())
    assert min(_search(make("cma_es", problem), problem, score, 400)) == pytest.approx(optimum)


def test_correlated_knobs_are_learned() -> None:
    """Where knobs pay only together, sampling from the learned covariance beats mutation and crossover."""
    problem = Knapsack([5] * 40)
    found = {
        name: np.mean(
            [min(_search(make(name, problem, seed), problem, coupled(problem, seed), 300)) for seed in (0, 1)]
        )
        for name in ("cma_es", "genetic")
    }
    assert found["cma_es"] < found["genetic"]


def test_the_first_plans_lie_around_the_uniform_ones() -> None:
    problem = Knapsack([9] * 10)
    narrow, wide = (
        np.array([genes for _, genes, _ in hand_out(make("cma_es", problem, sigma=sigma), problem, 0, 40)])
        for sigma in (0.05, 0.5)
    )
    assert np.abs(narrow - narrow.mean(0)).mean() < np.abs(wide - wide.mean(0)).mean()
    assert len(np.unique(narrow, axis=0)) == 40


def test_a_generation_is_complete_when_its_results_are_in_whoever_they_come_from() -> None:
    algorithm = make("cma_es", PROBLEM, population=6)
    before = _mean(algorithm)
    rows = hand_out(algorithm, PROBLEM, 0, 8)
    tell_all(algorithm, rows[3:])
    assert (_mean(algorithm) == before).all()
    algorithm.tell(8, (0,) * 10, Outcome((0.0,)))
    assert _mean(algorithm).mean() < before.mean() - 1


def test_a_word_that_comes_after_its_generation_moves_nothing() -> None:
    algorithm = make("cma_es", PROBLEM, population=4)
    rows = hand_out(algorithm, PROBLEM, 0, 4)
    tell_all(algorithm, rows)
    before = _mean(algorithm)
    for id, genes, _ in rows:
        algorithm.tell(id, genes, Outcome((0.1,), 1))
    assert (_mean(algorithm) == before).all()


def test_within_a_generation_a_higher_rung_comes_first_and_failures_last() -> None:
    """The plans at the lowest level reached rung 1 with poor values, the others stayed at rung 0 or failed."""
    algorithm = make("cma_es", PROBLEM, population=6)
    outcomes = [Outcome((0.9,), 1)] * 3 + [Outcome((0.1,), 0)] * 2 + [Outcome((), failed=True)]
    for id, outcome in enumerate(outcomes):
        algorithm.tell(id, (0 if id < 3 else 8,) * 9 + (id,), outcome)
    assert _mean(algorithm)[:9].mean() < 2


def test_results_of_a_lower_rung_wait_for_one_of_the_highest() -> None:
    algorithm = make("cma_es", PROBLEM, population=4)
    for id in range(4):
        algorithm.tell(id, (8,) * 9 + (id,), Outcome((0.5,), 1))
    before = _mean(algorithm)
    for id in range(4, 12):
        algorithm.tell(id, (0,) * 9 + (id - 4,), Outcome((0.1,), 0))
    assert (_mean(algorithm) == before).all()
    algorithm.tell(12, (7,) * 10, Outcome((0.6,), 1))
    assert (_mean(algorithm) != before).any()


def test_a_search_goes_on_from_its_journal_as_if_it_had_not_stopped() -> None:
    """Batches larger than a generation, memos through JSON: the mean is the same to the last bit."""
    unbroken, rebuilt = make("cma_es", PROBLEM, population=5), make("cma_es", PROBLEM, population=5)
    for first in range(0, 64, 8):
        for id, genes, memo in hand_out(unbroken, PROBLEM, first, 8):
            unbroken.tell(id, genes, Outcome((_sphere(genes),)))
            rebuilt.asked(id, genes, json.loads(json.dumps(memo)))
            rebuilt.tell(id, genes, Outcome((_sphere(genes),)))
    assert (_mean(unbroken) == _mean(rebuilt)).all()
    assert unbroken.ask(range(64, 70)) == rebuilt.ask(range(64, 70))


def test_where_nothing_makes_a_difference_it_starts_anew_around_the_best() -> None:
    problem = Free([5] * 3)
    algorithm = make("cma_es", problem, population=8)
    best = (4, 0, 4)
    algorithm.tell(0, best, Outcome((0.0,)))
    generations = []
    for id in range(1, 400):
        algorithm.tell(id, (id % 5, id // 5 % 5, id // 25 % 5), Outcome((0.5,)))
        generations.append(algorithm._cma.generation)
        if generations[-1] < max(generations):
            break
    assert generations[-1] == 0
    assert tuple(_mean(algorithm)) == best


def test_frozen_knobs_are_no_dimensions() -> None:
    algorithm = make("cma_es", Knapsack([1, 3, 1, 4, 1]))
    assert len(_mean(algorithm)) == 2
    tell_all(algorithm, hand_out(algorithm, Knapsack([1, 3, 1, 4, 1]), 0, 12))


def test_a_population_in_which_everything_fails_goes_on() -> None:
    algorithm = make("cma_es", PROBLEM, population=4)
    tell_all(algorithm, hand_out(algorithm, PROBLEM, 0, 10), None)
    assert len({genes for _, genes, _ in hand_out(algorithm, PROBLEM, 10, 6)}) == 6
