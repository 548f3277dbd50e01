"""Where a population begins: around the uniform plans at the budgets and around the prior's; else anywhere."""

from __future__ import annotations

import numpy as np

from pqsearch.algorithms._integer_program import planned
from pqsearch.problem import FloatArray, IntArray, Problem, uniform_genes

#: Plans of the integer program to begin around.
MOST_PLANNED = 2


class Starts:
    """Draws initial genes. Plans drawn level by level spend the budgets badly; around uniform ones they do not."""

    def __init__(self, problem: Problem, spread: float) -> None:
        self._spread = spread
        self._levels = np.asarray(problem.levels, dtype=np.int64)
        #: Whether levels near the centres are worth more than others.
        self.informed = bool(len(problem.budgets))
        uniform = uniform_genes(problem)
        # Where no uniform plan holds the budgets, whatever repair makes of the middle is as good a centre.
        centres = uniform if len(uniform) else (np.asarray(problem.levels) - 1)[None] // 2
        self.centres: IntArray = problem.repair(centres)
        #: Where a single distribution begins: the plan of least expected damage, else the mean of the uniform plans.
        self.middle: FloatArray = self.centres.mean(0)
        if problem.prior is not None:
            plans = planned(problem)[:MOST_PLANNED]
            self.middle = plans[0].astype(np.float64)
            self.centres = np.concatenate([self.centres, np.resize(plans, self.centres.shape)])

    def draw(self, rng: np.random.Generator) -> IntArray:
        """Genes (knobs,), not repaired."""
        if not self.informed:
            return rng.integers(0, self._levels)
        centre = self.centres[rng.integers(len(self.centres))]
        return centre + np.rint(rng.normal(0, self._spread, len(centre))).astype(np.int64)
