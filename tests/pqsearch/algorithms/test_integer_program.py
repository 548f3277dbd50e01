"""The plan of least damage: feasible, best where costs are linear, and good where they are not."""

from __future__ import annotations

import ctypes
from itertools import product

import numpy as np
import pytest

from pqsearch.algorithms._integer_program import SOLVERS_OWN, damage, least_damage
from pqsearch.algorithms._quiet import without_lines
from pqsearch.box import Box
from pqsearch.problem import IntArray
from tests.pqsearch.problems import Knapsack


def _prior(problem: Knapsack, seed: int = 0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [[*sorted(rng.random(levels - 1).tolist(), reverse=True), 0.0] for levels in problem.levels]


def test_damage_is_the_sum_over_knobs() -> None:
    prior = [[0.5, 0.0], [0.25, 0.125, 0.0]]
    assert damage(prior, np.array([[0, 0], [1, 1], [1, 2]])).tolist() == [0.75, 0.125, 0.0]


def test_where_costs_are_linear_the_plan_is_the_best_there_is() -> None:
    problem = Knapsack([3, 2, 4, 3, 1, 2])
    prior = _prior(problem)
    everything = np.array(list(product(*(range(levels) for levels in problem.levels))))
    feasible = everything[(problem.costs(everything) <= problem.limits).all(1)]
    best = damage(prior, feasible).min()
    found = least_damage(problem, prior)
    assert damage(prior, found)[0] <= best * (1 + 2e-3)


def test_all_plans_hold_the_budgets_and_come_in_the_order_of_their_damage() -> None:
    problem = Knapsack([4] * 30)
    prior = _prior(problem, 1)
    found = least_damage(problem, prior)
    assert (problem.costs(found) <= problem.limits).all()
    assert (np.diff(damage(prior, found)) >= 0).all()


class _Products(Knapsack):
    """Costs of neighbours multiply, as those of pruned convolutions do."""

    def costs(self, genes: IntArray) -> np.ndarray:
        genes = np.asarray(genes, dtype=np.float64) + 1
        return (genes * np.roll(genes, 1, axis=1)).sum(1, keepdims=True)

    @property
    def limits(self) -> np.ndarray:
        return 0.4 * self.costs(np.array([self.levels]) - 1)[0]

    def repair(self, genes: IntArray) -> IntArray:
        found = np.clip(np.asarray(genes), 0, np.array(self.levels) - 1)
        for plan in found:
            knob = 0
            while (self.costs(plan[None])[0] > self.limits).any():
                plan[knob % len(plan)] = max(0, plan[knob % len(plan)] - 1)
                knob += 1
        return found


def test_where_costs_multiply_it_beats_a_thousand_random_plans() -> None:
    problem = _Products([4] * 10)
    prior = _prior(problem, 2)
    random = problem.repair(np.random.default_rng(0).integers(0, 4, (1000, 10)))
    found = least_damage(problem, prior)
    assert (problem.costs(found) <= problem.limits).all()
    assert damage(prior, found)[0] < damage(prior, random).min()


def test_without_budgets_many_levels_are_no_work_for_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Box([1000] * 50)
    prior = [[abs(level - knob) / 1000 for level in range(1000)] for knob in range(50)]
    monkeypatch.setattr("pqsearch.algorithms._integer_program.ROUNDS", 0)  # no round of the program is run
    assert least_damage(problem, prior)[0].tolist() == list(range(50))


def test_what_is_best_of_each_knob_is_what_the_solver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Box([4, 1, 7, 3])
    prior = [np.random.default_rng(knob).random(count).tolist() for knob, count in enumerate(problem.levels)]
    direct = least_damage(problem, prior)
    monkeypatch.setattr("pqsearch.algorithms._integer_program._least_of_each", lambda prior: None)
    assert least_damage(problem, prior).tolist() == direct.tolist()


def test_what_the_solver_prints_of_its_own_does_not_reach_the_output_and_all_else_does(
    capfd: pytest.CaptureFixture[str],
) -> None:
    say = ctypes.CDLL(None).printf
    say(b"before\n")
    with pytest.raises(KeyError), without_lines(SOLVERS_OWN):
        say(b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\n")
        say(b"%s\n", b"another's word")
        raise KeyError
    say(b"after\n")
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "before\nanother's word\nafter\n"


def test_without_budgets_nothing_is_given_up() -> None:
    problem = Knapsack([3, 3], share=1.0)
    assert least_damage(problem, _prior(problem))[0].tolist() == [2, 2]
