"""A steady-state genetic algorithm: tournament selection, uniform crossover, mutation by level steps, elitism.

Syswerda, A Study of Reproduction in Generational and Steady-State Genetic Algorithms, FOGA 1991. The parents are the best
`population` candidates of the whole history, so the best are never lost; each arriving result may replace the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from pqsearch.algorithms._archive import Archive
from pqsearch.problem import Finished, Genes, IntArray, Outcome, Problem, Proposal, Wait, uniform_genes
from pqsearch.rooms import Doc, Range

#: A child that was seen before is mutated again, a little more each time, at most this often.
RETRIES = 8


class Algorithm:
    """Genetic search over level space."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        population: Annotated[
            int, Doc("Parents that are kept, and random candidates before breeding."), Range(2, 10000)
        ] = 24,
        tournament: Annotated[int, Doc("Parents compared in a selection; more is greedier."), Range(1, 100)] = 3,
        crossover: Annotated[float, Doc("Chance that a child has two parents."), Range(0, 1)] = 0.9,
        mutation: Annotated[float, Doc("Expected number of knobs that a child changes."), Range(0, 1000)] = 3.0,
        spread: Annotated[
            float, Doc("Levels by which initial candidates scatter around uniform plans."), Range(0, 100)
        ] = 0.5,
    ) -> None:
        self._problem = problem
        self._seed = seed
        self._population = population
        self._tournament = tournament
        self._crossover = crossover
        self._mutation = mutation
        self._spread = spread
        self._top = np.asarray(problem.levels) - 1
        self._free = np.flatnonzero(self._top)
        self._archive = Archive()
        uniform = uniform_genes(problem)
        # Where no uniform plan holds the budgets, whatever repair makes of the middle is as good a centre.
        centres = uniform if len(uniform) else (self._top // 2)[None]
        self._centres: IntArray = problem.repair(centres)

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        """Initial candidates while fewer than `population` were asked, children of the best afterwards."""
        parents = np.array(self._archive.ranked()[: self._population], dtype=np.int64)
        born = len(self._archive.asked)
        seen = set(self._archive.seen)
        proposals = []
        for offset, id in enumerate(ids):
            rng = np.random.default_rng((self._seed, id))
            initial = born + offset < self._population or len(parents) < 2
            genes = self._initial(rng) if initial else self._child(rng, parents)
            repaired = self._unseen(rng, genes, seen)
            seen.add(repaired)
            proposals.append(Proposal(repaired, {"origin": "initial" if initial else "child"}))
        return proposals

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)

    def _initial(self, rng: np.random.Generator) -> IntArray:
        centre = self._centres[rng.integers(len(self._centres))]
        return centre + np.rint(rng.normal(0, self._spread, len(centre))).astype(np.int64)

    def _child(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        first, second = self._select(rng, parents), self._select(rng, parents)
        child = first.copy()
        if rng.random() < self._crossover:
            child = np.where(rng.random(len(child)) < 0.5, first, second)
        return self._mutate(rng, child, self._mutation)

    def _select(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        # Parents are ranked, so the best of a tournament is the smallest index.
        return parents[rng.integers(len(parents), size=self._tournament).min()]

    def _mutate(self, rng: np.random.Generator, genes: IntArray, expected: float) -> IntArray:
        if not len(self._free):
            return genes
        chosen = self._free[rng.random(len(self._free)) < expected / len(self._free)]
        if not len(chosen):
            chosen = rng.choice(self._free, size=1)
        genes = genes.copy()
        genes[chosen] += rng.choice([-2, -1, 1, 2], size=len(chosen), p=[0.15, 0.35, 0.35, 0.15])
        return np.clip(genes, 0, self._top)

    def _unseen(self, rng: np.random.Generator, genes: IntArray, seen: set[Genes]) -> Genes:
        found = self._repaired(genes)
        for retry in range(1, RETRIES + 1):
            if found not in seen:
                break
            genes = self._mutate(rng, genes, self._mutation * (1 + retry))
            found = self._repaired(genes)
        return found

    def _repaired(self, genes: IntArray) -> Genes:
        return tuple(map(int, self._problem.repair(np.clip(genes, 0, self._top)[None])[0]))
