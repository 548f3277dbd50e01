"""Mutation by level steps, and the search for plans that are new."""

from __future__ import annotations

from itertools import product

import numpy as np

from pqsearch.algorithms._steps import Steps
from tests.pqsearch.problems import Knapsack


def test_a_mutation_stays_legal_leaves_frozen_knobs_and_moves_at_most_two_levels() -> None:
    problem = Knapsack([1, 4, 2, 9])
    steps = Steps(problem)
    rng = np.random.default_rng(0)
    start = np.array([0, 1, 1, 4])
    moved = np.array([steps.mutate(rng, start, 1.0) for _ in range(300)])
    assert (moved >= 0).all() and (moved < np.array(problem.levels)).all()
    assert (moved[:, 0] == 0).all()
    assert set(moved[:, 3] - 4) == {-2, -1, 0, 1, 2}
    assert (start == [0, 1, 1, 4]).all()


def test_the_expected_number_of_knobs_is_moved() -> None:
    steps = Steps(Knapsack([9] * 50))
    rng = np.random.default_rng(0)
    start = np.full(50, 4)
    counts = [(steps.mutate(rng, start, 5.0) != start).sum() for _ in range(400)]
    assert 4.5 < np.mean(counts) < 5.5


def test_a_known_plan_is_mutated_until_it_is_new_and_new_ones_are_kept() -> None:
    problem = Knapsack([4] * 8)
    steps = Steps(problem)
    known = tuple(map(int, problem.repair(np.full((1, 8), 2))[0]))
    found = steps.unseen(np.random.default_rng(0), np.array(known), {known}, 1.0)
    assert found != known
    assert np.array_equal(problem.repair(np.array([found]))[0], found)
    assert steps.unseen(np.random.default_rng(0), np.array(known), set(), 1.0) == known


def test_where_every_plan_is_known_one_is_given_all_the_same() -> None:
    problem = Knapsack([2, 2, 2], share=1.0)
    seen = set(product((0, 1), repeat=3))
    assert Steps(problem).unseen(np.random.default_rng(0), np.array([0, 1, 0]), seen, 1.0) in seen
    frozen = Knapsack([1, 1], share=1.0)
    assert Steps(frozen).unseen(np.random.default_rng(0), np.array([0, 0]), {(0, 0)}, 1.0) == (0, 0)
