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


def test_a_real_position_is_rounded_up_or_down_and_stays_where_it_is_in_the_mean() -> None:
    steps = Steps(Knapsack([9] * 3))
    rng = np.random.default_rng(0)
    rounded = np.array([steps.rounded(rng, np.array([2.3, 5.0, 9.7])) for _ in range(2000)])
    assert set(rounded[:, 0]) == {2, 3} and set(rounded[:, 1]) == {5} and set(rounded[:, 2]) == {8}
    assert abs(rounded[:, 0].mean() - 2.3) < 0.05


def _novel(problem: Knapsack, genes: list[list[int]], seen: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    rngs = [np.random.default_rng(index) for index in range(len(genes))]
    return Steps(problem).novel(rngs, [np.array(row) for row in genes], seen, 1.0)


def test_a_known_plan_is_mutated_until_it_is_new_and_new_ones_are_kept() -> None:
    problem = Knapsack([4] * 8)
    known = tuple(map(int, problem.repair(np.full((1, 8), 2))[0]))
    (found,) = _novel(problem, [list(known)], {known})
    assert found != known
    assert np.array_equal(problem.repair(np.array([found]))[0], found)
    assert _novel(problem, [list(known)], set()) == [known]


def test_plans_proposed_together_differ_from_each_other() -> None:
    problem = Knapsack([4] * 8)
    assert len(set(_novel(problem, [[2] * 8] * 12, set()))) == 12


def test_a_spare_plan_stands_in_for_a_known_one_and_for_one_only() -> None:
    problem = Knapsack([4] * 8)
    known, new, spare = (tuple(row) for row in problem.repair(np.array([[2] * 8, [3] * 8, [0, 3] * 4])).tolist())
    rngs = [np.random.default_rng(index) for index in range(3)]
    rows = [np.array(row) for row in (new, known, known)]
    spares = [np.array(known), np.array(spare)]
    first, second, third = Steps(problem).novel(rngs, rows, {known}, 1.0, spares)
    assert (first, second) == (new, spare)
    assert third not in (known, new, spare)


def test_where_every_plan_is_known_one_is_given_all_the_same() -> None:
    problem = Knapsack([2, 2, 2], share=1.0)
    seen = set(product((0, 1), repeat=3))
    assert _novel(problem, [[0, 1, 0]], seen)[0] in seen
    frozen = Knapsack([1, 1], share=1.0)
    assert _novel(frozen, [[0, 0]], {(0, 0)}) == [(0, 0)]
