"""mealpy's population algorithms over an `IntegerVar`, with the parameters they come with.

The population is 20: the 50 of its examples would leave one generation of 100 evaluations, and came out worse for GA and
ACOR. Repair is in the objective; repairing the positions themselves through `correct_solution` made GA and ABC worse and
the others no better at 100 evaluations.
A plan over a budget has a static penalty in its value, as in mealpy's examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mealpy import ABC, ACOR, GA, PSO, IntegerVar
from mealpy import Problem as MealpyProblem

from arena.contest import Contender, Knobs, Objective
from pqsearch.problem import Problem

POPULATION = 20


class _Plans(MealpyProblem):
    def __init__(self, knobs: Knobs, objective: Objective) -> None:
        self._knobs, self._objective = knobs, objective
        bounds = IntegerVar(lb=[0] * len(knobs.top), ub=knobs.top.tolist(), name="levels")
        # Without weights mealpy calls the objective once more to count its values.
        super().__init__(bounds, minmax="min", log_to=None, obj_weights=[1.0])

    def obj_func(self, x: Any) -> float:
        return float(self._objective(self._knobs.genes(self.decode_solution(x)["levels"]))[0])


def _peer(optimizer: Any) -> Contender:
    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        knobs = Knobs(problem)
        starts = None
        if len(objective.starts):
            drawn = np.random.default_rng(seed).integers(0, knobs.top + 1, (POPULATION, len(knobs.top)))
            starts = np.concatenate([objective.starts[:, knobs.free], drawn])[:POPULATION].astype(np.float64)
        # The objective ends it.
        found = optimizer(epoch=100_000, pop_size=POPULATION)
        found.solve(_Plans(knobs, objective), seed=seed, starting_solutions=starts)

    return contend


ga = _peer(GA.BaseGA)
pso = _peer(PSO.OriginalPSO)
abc = _peer(ABC.OriginalABC)
acor = _peer(ACOR.OriginalACOR)
