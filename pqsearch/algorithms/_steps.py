"""Steps between levels, and the search for plans that nobody has asked for yet."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from pqsearch.problem import FloatArray, Genes, IntArray, Problem

#: A plan that was seen before is mutated again, a little more each time, at most this often.
RETRIES = 8


class Steps:
    """Mutation by level steps, on the free knobs of a problem."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.top: IntArray = np.asarray(problem.levels, dtype=np.int64) - 1
        self._free = np.flatnonzero(self.top)

    def legal(self, genes: IntArray) -> IntArray:
        """Genes (..., knobs), each level moved into its knob's range."""
        return np.minimum(np.maximum(genes, 0), self.top)

    def mutate(self, rng: np.random.Generator, genes: IntArray, expected: float) -> IntArray:
        """Genes (knobs,) with `expected` of the knobs moved by one or two levels, at least one of them."""
        if not len(self._free):
            return genes
        chosen = self._free[rng.random(len(self._free)) < expected / len(self._free)]
        if not len(chosen):
            chosen = rng.choice(self._free, size=1)
        size = np.where(rng.random(len(chosen)) < 0.3, 2, 1)
        genes = genes.copy()
        genes[chosen] += np.where(rng.random(len(chosen)) < 0.5, size, -size)
        return self.legal(genes)

    def rounded(self, rng: np.random.Generator, position: FloatArray) -> IntArray:
        """A real position (knobs,) as levels, up or down by chance: in the mean it stays where it is."""
        return self.legal(np.floor(position + rng.random(len(position))).astype(np.int64))

    def novel(
        self,
        rngs: Sequence[np.random.Generator],
        genes: Sequence[IntArray],
        seen: AbstractSet[Genes],
        expected: float,
        spares: Sequence[IntArray] = (),
    ) -> list[Genes]:
        """Repaired genes, one for each of `genes`, different from `seen` and from each other.

        `spares` stand in for known ones while there are any. Further ones are mutated until they are new; where all tries
        were known the last one stays.
        """
        plans = self._repaired(np.stack([*genes, *spares]))
        tries = [[plan] for plan in plans[: len(genes)]]
        left = iter(plans[len(genes) :])
        wanted = list(genes)
        while True:
            chosen: list[Genes] = []
            taken: set[Genes] = set()
            known: list[int] = []
            for index, mine in enumerate(tries):
                fresh = next((plan for plan in mine if plan not in seen and plan not in taken), None)
                if fresh is None:
                    fresh = next((plan for plan in left if plan not in seen and plan not in taken), None)
                    mine += [fresh] if fresh else []
                if fresh is None and len(mine) <= RETRIES:
                    known.append(index)
                chosen.append(fresh or mine[-1])
                taken.add(chosen[-1])
            if not known:
                return chosen
            # All of them at once: a plan repaired alone costs several times as much.
            for index in known:
                wanted[index] = self.mutate(rngs[index], wanted[index], expected * (1 + len(tries[index])))
            for index, plan in zip(known, self._repaired(np.stack([wanted[index] for index in known])), strict=True):
                tries[index].append(plan)

    def _repaired(self, genes: IntArray) -> list[Genes]:
        return [tuple(row) for row in self._problem.repair(self.legal(genes)).tolist()]
