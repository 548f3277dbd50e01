"""pymoo's GA and NSGA-II with the operators and the population of 20 that its page on discrete variables gives.

Populations of 10 and 50 came out worse. Repair is in the objective; as pymoo's own repair operator, which writes the
repaired plan back into the population, it made GA worse. Budgets are constraints G <= 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from arena.contest import Contender, Knobs, Objective
from pqsearch.problem import Problem

POPULATION = 20


class _Plans(PymooProblem):
    def __init__(self, problem: Problem, knobs: Knobs, objective: Objective) -> None:
        self._knobs, self._objective = knobs, objective
        budgets = len(problem.budgets) if objective.handling == "penalty" else 0
        super().__init__(len(knobs.top), n_obj=1, n_ieq_constr=budgets, xl=0, xu=knobs.top, vtype=int)

    def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        genes = self._knobs.genes(x)
        out["F"] = self._objective(genes)[:, None]
        if self.n_ieq_constr:
            out["G"] = self._objective.excess(genes)


def _peer(algorithm: Any) -> Contender:
    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        knobs = Knobs(problem)
        sampling: Any = IntegerRandomSampling()
        if len(objective.starts):
            drawn = np.random.default_rng(seed).integers(0, knobs.top + 1, (POPULATION, len(knobs.top)))
            sampling = np.concatenate([objective.starts[:, knobs.free], drawn])[:POPULATION]
        found = algorithm(
            pop_size=POPULATION,
            sampling=sampling,
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            eliminate_duplicates=True,
        )
        # The objective ends it.
        minimize(_Plans(problem, knobs, objective), found, ("n_gen", 10**9), seed=seed)

    return contend


ga = _peer(GA)
nsga2 = _peer(NSGA2)
