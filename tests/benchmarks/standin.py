"""A landscape small enough for tests: a knapsack of levels, coupled values, a little noise."""

from __future__ import annotations

import numpy as np

from arena.contest import Score, Truth
from pqsearch.problem import FloatArray, IntArray
from tests.pqsearch.problems import Knapsack, coupled


def landscape(noise: float = 0.01) -> tuple[Knapsack, Score, Truth]:
    """A problem, noisy values and true ones."""
    problem = Knapsack([4, 1, *[3] * 8], share=0.6)
    value = coupled(problem)

    def truth(genes: IntArray) -> FloatArray:
        return np.array([value(tuple(row)) for row in genes.tolist()])

    def score(genes: IntArray, rng: np.random.Generator) -> FloatArray:
        return truth(genes) + rng.normal(0, noise, len(genes))

    return problem, score, truth
