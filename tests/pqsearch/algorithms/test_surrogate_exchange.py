"""What the default algorithm does beyond what every algorithm does."""

from __future__ import annotations

import numpy as np

from pqsearch.problem import Outcome
from tests.pqsearch.algorithms.folding import hand_out, make, proposals
from tests.pqsearch.problems import Knapsack, coupled

PROBLEM = Knapsack([5] * 16)


def _searched(
    seed: int = 0, evaluations: int = 60, **options: float
) -> tuple[object, list[tuple[tuple[int, ...], float]]]:
    score = coupled(PROBLEM)
    rng = np.random.default_rng(seed)
    algorithm, found = make("surrogate_exchange", PROBLEM, seed, **options), []
    for first in range(0, evaluations, 2):
        for id, genes, _ in hand_out(algorithm, PROBLEM, first, 2):
            value = score(genes) + 0.01 * rng.normal()
            algorithm.tell(id, genes, Outcome((value,)))
            found.append((genes, score(genes)))
    return algorithm, found


def test_children_are_better_than_the_first_candidates_and_all_are_new() -> None:
    _, found = _searched()
    assert len({genes for genes, _ in found}) == len(found)
    values = [value for _, value in found]
    assert np.mean(values[-20:]) < np.min(values[:12])


def test_proposals_made_at_once_differ() -> None:
    algorithm, _ = _searched()
    assert len({one.genes for one in proposals(algorithm, 60, 16)}) == 16


def test_its_leader_is_better_than_the_best_score_where_measurements_are_noisy() -> None:
    score = coupled(PROBLEM)
    by_view, by_score = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        plans = [tuple(row) for row in PROBLEM.repair(rng.integers(0, 5, (200, 16))).tolist()]
        scores = [score(genes) + 0.1 * rng.normal() for genes in plans]
        algorithm = make("surrogate_exchange", PROBLEM, seed)
        for id, genes in enumerate(plans):
            algorithm.asked(id, genes, {})
            algorithm.tell(id, genes, Outcome((scores[id],)))
        (leader,) = algorithm.leading(1)
        by_view.append(score(plans[leader]))
        by_score.append(score(plans[np.argmin(scores)]))
    assert np.mean(by_view) < np.mean(by_score)


def test_its_leaders_are_successes_of_the_highest_rung_each_plan_once() -> None:
    algorithm = make("surrogate_exchange", PROBLEM)
    assert algorithm.leading(3) == []
    handed = list(hand_out(algorithm, PROBLEM, 0, 12))
    for id, genes, _ in handed:
        outcome = Outcome((), failed=True) if id % 3 == 0 else Outcome((float(id),), rung=id % 3)
        algorithm.tell(id, genes, outcome)
    algorithm.asked(12, handed[5][1], {})
    algorithm.tell(12, handed[5][1], Outcome((5.0,), rung=2))
    assert sorted(algorithm.leading(99)) == [2, 5, 8, 11]
    assert algorithm.leading(2) == algorithm.leading(99)[:2]


def test_with_every_result_a_failure_it_keeps_drawing() -> None:
    algorithm = make("surrogate_exchange", PROBLEM)
    for first in range(0, 40, 4):
        for id, genes, _ in hand_out(algorithm, PROBLEM, first, 4):
            algorithm.tell(id, genes, Outcome((), failed=True))
    assert len({one.genes for one in proposals(algorithm, 40, 8)}) == 8


def test_more_results_than_the_surrogate_takes_leave_it_the_best_and_the_latest() -> None:
    algorithm = make("surrogate_exchange", PROBLEM)
    plans = PROBLEM.repair(np.random.default_rng(0).integers(0, 5, (900, 16)))
    score = coupled(PROBLEM)
    for id, genes in enumerate(map(tuple, plans.tolist())):
        algorithm.asked(id, genes, {})
        algorithm.tell(id, genes, Outcome((score(genes),)))
    given = {tuple(row) for row in algorithm._surrogate(0).genes.tolist()}
    assert len(algorithm._surrogate(0).genes) <= 400
    assert min(map(tuple, plans.tolist()), key=score) in given
    assert tuple(plans[-1].tolist()) in given
