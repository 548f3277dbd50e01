"""What the genetic algorithm does beyond what every algorithm does."""

from __future__ import annotations

from typing import Any

import numpy as np

from pqsearch.problem import Outcome
from tests.pqsearch.algorithms.folding import make, proposals
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([5] * 10)


def _make(**options: Any) -> Any:
    return make("genetic", PROBLEM, **options)


def _told(algorithm: Any, plans: np.ndarray, values: list[float | None]) -> Any:
    for id, (genes, value) in enumerate(zip(map(tuple, plans.tolist()), values, strict=True)):
        algorithm.asked(id, genes, {})
        algorithm.tell(id, genes, Outcome((), failed=True) if value is None else Outcome((value,)))
    return algorithm


def test_the_first_population_is_drawn_and_counts_plans_that_came_from_outside() -> None:
    plans = PROBLEM.repair(np.random.default_rng(0).integers(0, 5, (5, 10)))
    algorithm = _told(_make(population=8), plans, [0.1, 0.2, 0.3, 0.4, 0.5])
    origins = [proposal.memo["origin"] for proposal in proposals(algorithm, 5, 6)]
    assert origins == ["initial"] * 3 + ["child"] * 3


def test_the_first_population_differs_in_how_it_spends_the_budget() -> None:
    genes = np.array([proposal.genes for proposal in proposals(_make(), 0, 20)])
    assert len(np.unique(genes, axis=0)) == 20
    assert (genes.std(0) > 0).sum() >= 8


def test_failures_never_become_parents() -> None:
    """The failed plans use the second half of the knobs alone, the successful ones the first."""
    good = np.array([[4, 4, 3, 0, 0, 0, 0, 0, 0, 0], [4, 3, 4, 0, 0, 0, 0, 0, 0, 0]])
    bad = good[:, ::-1]
    algorithm = _told(
        _make(population=4, mutation=1.0), np.concatenate([good, bad, bad - (bad > 0)]), [0.2, 0.3, *[None] * 4]
    )
    children = np.array([proposal.genes for proposal in proposals(algorithm, 6, 30)])
    repaired_good = PROBLEM.repair(good)
    distance_good = np.abs(children[:, None] - repaired_good[None]).sum(2).min(1)
    distance_bad = np.abs(children[:, None] - bad[None]).sum(2).min(1)
    assert (distance_good < distance_bad).all()


def test_the_best_stay_parents_however_many_come_after_them() -> None:
    rng = np.random.default_rng(1)
    best = PROBLEM.repair(np.array([[4, 4, 4, 0, 0, 0, 0, 0, 0, 0]]))
    later = PROBLEM.repair(rng.integers(0, 5, (200, 10)))
    plans = np.concatenate([best, later])
    algorithm = _told(_make(population=4, tournament=50, crossover=0.0, mutation=1.0), plans, [0.0] + [0.5] * 200)
    children = np.array([proposal.genes for proposal in proposals(algorithm, 201, 20)])
    assert np.median(np.abs(children - best).sum(1)) < np.median(np.abs(later - best).sum(1))


def test_children_of_parents_that_are_all_but_exhausted_are_new_and_differ() -> None:
    """Two parents that differ in nothing but a level, and all that one mutation makes of them is known."""
    parents = PROBLEM.repair(np.array([[4, 4, 3, 0, 0, 0, 0, 0, 0, 0], [4, 3, 4, 0, 0, 0, 0, 0, 0, 0]]))
    near = {tuple(row) for row in parents.tolist()}
    for row in parents:
        for knob in range(10):
            for step in (-2, -1, 1, 2):
                moved = np.clip(row + step * (np.arange(10) == knob), 0, 4)
                near.add(tuple(PROBLEM.repair(moved[None])[0].tolist()))
    plans = np.array(sorted(near))
    algorithm = _told(_make(population=2, mutation=1.0), plans, [0.1] * len(plans))
    children = [proposal.genes for proposal in proposals(algorithm, len(plans), 40)]
    assert len(set(children)) == 40 and not set(children) & near
