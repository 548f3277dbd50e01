"""What the particle swarm does beyond what every algorithm does."""

from __future__ import annotations

import numpy as np
import pytest

from pqsearch.problem import Outcome
from tests.pqsearch.algorithms.folding import hand_out, make, tell_all
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([9] * 12)


def test_the_constriction_factor_is_that_of_the_paper() -> None:
    assert make("particle_swarm", PROBLEM)._chi == pytest.approx(0.7298, abs=1e-4)


def test_every_particle_has_its_turn_before_one_has_a_second() -> None:
    swarm = make("particle_swarm", PROBLEM, particles=5)
    first = hand_out(swarm, PROBLEM, 0, 5)
    assert sorted(memo["particle"] for *_, memo in first) == [0, 1, 2, 3, 4]
    tell_all(swarm, first)
    second = hand_out(swarm, PROBLEM, 5, 5)
    assert sorted(memo["particle"] for *_, memo in second) == [0, 1, 2, 3, 4]


def test_a_particle_that_waits_for_its_result_is_passed_over() -> None:
    swarm = make("particle_swarm", PROBLEM, particles=3)
    rows = hand_out(swarm, PROBLEM, 0, 3)
    tell_all(swarm, rows[1:])
    moved = []
    for id in range(3, 7):
        again = hand_out(swarm, PROBLEM, id, 1)
        tell_all(swarm, again)
        moved += [memo["particle"] for *_, memo in again]
    assert set(moved) == {rows[1][2]["particle"], rows[2][2]["particle"]}


def test_no_step_is_longer_than_the_clamp() -> None:
    swarm = make("particle_swarm", PROBLEM, particles=4, clamp=0.25)
    for first in range(0, 80, 4):
        rows = hand_out(swarm, PROBLEM, first, 4)
        assert all(np.abs(memo["velocity"]).max() <= 0.25 * 8 + 1e-3 for *_, memo in rows)
        for id, genes, _ in rows:
            swarm.tell(id, genes, Outcome((float(np.sum(genes[:6])),)))


def test_particles_gather_where_the_best_is() -> None:
    """One plan told from outside is far better than all else: after some moves the swarm is closer to it."""
    best = tuple(map(int, PROBLEM.repair(np.array([[8] * 5 + [0] * 7]))[0]))
    swarm = make("particle_swarm", PROBLEM, particles=6)
    swarm.asked(0, best, {"role": "uniform"})
    swarm.tell(0, best, Outcome((0.0,)))
    distances = []
    for first in range(1, 73, 6):
        rows = hand_out(swarm, PROBLEM, first, 6)
        tell_all(swarm, rows)
        distances.append(np.mean([np.abs(np.array(genes) - best).sum() for _, genes, _ in rows]))
    assert distances[-1] < 0.5 * distances[0]


def test_a_swarm_whose_first_positions_all_failed_goes_on() -> None:
    swarm = make("particle_swarm", PROBLEM, particles=3)
    tell_all(swarm, hand_out(swarm, PROBLEM, 0, 3), None)
    assert len({genes for _, genes, _ in hand_out(swarm, PROBLEM, 3, 6)}) == 6
