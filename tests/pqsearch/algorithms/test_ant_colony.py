"""What the ant colony does beyond what every algorithm does."""

from __future__ import annotations

import numpy as np
import pytest

from pqsearch.problem import Outcome
from tests.pqsearch.algorithms.folding import hand_out, make, proposals, tell_all
from tests.pqsearch.problems import Free, Knapsack

PROBLEM = Knapsack([4] * 10)


def test_trails_begin_at_their_upper_bound_and_never_leave_the_bounds() -> None:
    colony = make("ant_colony", PROBLEM, ants=2, evaporation=0.5)
    assert (colony._trails == 1).all()
    for first in range(0, 60, 2):
        tell_all(colony, hand_out(colony, PROBLEM, first, 2))
    root = 0.05 ** (1 / 10)
    floor = (1 - root) / (3 * root)
    assert colony._trails.min() == pytest.approx(floor)
    assert colony._trails.max() <= 1


def test_one_ant_deposits_when_a_colony_is_complete_and_not_before() -> None:
    colony = make("ant_colony", PROBLEM, ants=3, elite=1000, evaporation=0.5)
    rows = hand_out(colony, PROBLEM, 0, 3)
    for (id, genes, _), value in zip(rows[:2], (0.2, 0.1), strict=True):
        colony.tell(id, genes, Outcome((value,)))
    assert (colony._trails == 1).all()
    colony.tell(rows[2][0], rows[2][1], Outcome((0.3,)))
    best = np.array(rows[1][1])
    assert (colony._trails[np.arange(10), best] == 1).all()
    assert (np.delete(colony._trails, 0, 1).sum() + colony._trails[:, 0].sum()) == pytest.approx(10 * (1 + 3 * 0.5))


def test_failures_and_words_said_twice_complete_no_colony() -> None:
    colony = make("ant_colony", PROBLEM, ants=2)
    rows = hand_out(colony, PROBLEM, 0, 3)
    tell_all(colony, rows[:1])
    tell_all(colony, rows[:1])
    tell_all(colony, rows[1:2], None)
    assert (colony._trails == 1).all()
    tell_all(colony, rows[2:])
    assert (colony._trails < 1).any()


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_without_a_weight_of_the_trails_levels_are_drawn_among_those_that_there_are(beta: float) -> None:
    colony = make("ant_colony", Free([2, 9]), alpha=0.0, beta=beta, spread=100.0)
    first = []
    for seed in range(200):
        colony._seed = seed
        first.append(proposals(colony, 0, 1)[0].genes[0])
    assert 0.4 < np.mean(first) < 0.6


def test_ants_follow_the_trail_of_the_best() -> None:
    best = tuple(map(int, PROBLEM.repair(np.array([[3] * 4 + [0] * 6]))[0]))
    colony = make("ant_colony", PROBLEM, ants=2, elite=1, evaporation=0.5)
    before = np.mean([np.abs(np.array(one.genes) - best).sum() for one in proposals(colony, 0, 40)])
    colony.asked(0, best, {"role": "uniform"})
    colony.tell(0, best, Outcome((0.0,)))
    for first in range(1, 41, 2):
        tell_all(colony, hand_out(colony, PROBLEM, first, 2))
    after = np.mean([np.abs(np.array(one.genes) - best).sum() for one in proposals(colony, 41, 40)])
    assert after < 0.7 * before
