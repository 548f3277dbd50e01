"""Steps between levels, and the search for a plan that nobody has asked for yet."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np

from pqsearch.problem import Genes, IntArray, Problem

#: A plan that was seen before is mutated again, a little more each time, at most this often.
RETRIES = 8


class Steps:
    """Mutation by level steps, on the free knobs of a problem."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._top: IntArray = np.asarray(problem.levels, dtype=np.int64) - 1
        self._free = np.flatnonzero(self._top)

    def mutate(self, rng: np.random.Generator, genes: IntArray, expected: float) -> IntArray:
        """Genes (knobs,) with `expected` of the knobs moved by one or two levels, at least one of them."""
        if not len(self._free):
            return genes
        chosen = self._free[rng.random(len(self._free)) < expected / len(self._free)]
        if not len(chosen):
            chosen = rng.choice(self._free, size=1)
        genes = genes.copy()
        genes[chosen] += rng.choice([-2, -1, 1, 2], size=len(chosen), p=[0.15, 0.35, 0.35, 0.15])
        return np.clip(genes, 0, self._top)

    def unseen(self, rng: np.random.Generator, genes: IntArray, seen: AbstractSet[Genes], expected: float) -> Genes:
        """Repaired genes that are not in `seen`, mutated until they are; the last ones tried where all were."""
        found = self._repaired(genes)
        for retry in range(1, RETRIES + 1):
            if found not in seen:
                break
            genes = self.mutate(rng, genes, expected * (1 + retry))
            found = self._repaired(genes)
        return found

    def _repaired(self, genes: IntArray) -> Genes:
        return tuple(map(int, self._problem.repair(np.clip(genes, 0, self._top)[None])[0]))
