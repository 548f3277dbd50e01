"""What genetic algorithms share: an initial population, then children of selected parents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import IntArray, Problem, Proposal

#: Among so many children that are asked for together there is a spare one. Late in a search one in ten is a plan that is known, and
#: a few plans that are repaired by themselves cost nearly what hundreds do.
SPARED_AMONG = 8


class Breeding:
    """Tournament selection among ranked parents, uniform crossover, mutation by level steps."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        population: int,
        tournament: int,
        crossover: float,
        mutation: float,
        spread: float,
    ) -> None:
        self._seed = seed
        self._population, self._tournament = population, tournament
        self._crossover, self._mutation = crossover, mutation
        self._starts = Starts(problem, spread)
        self._steps = Steps(problem)

    def proposals(self, ids: Sequence[int], archive: Archive) -> list[Proposal]:
        """Initial candidates while fewer than `population` were asked, children of the archive's best afterwards."""
        parents = archive.parents()
        born = len(archive.asked)
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        initial = [born + offset < self._population or len(parents) < 2 for offset in range(len(ids))]
        genes = [
            self._starts.draw(rng) if first else self._child(rng, parents)
            for rng, first in zip(rngs, initial, strict=True)
        ]
        spares = [] if any(initial) else [self._child(rng, parents) for rng in rngs[: len(rngs) // SPARED_AMONG]]
        plans = self._steps.novel(rngs, genes, archive.seen, self._mutation, spares)
        return [
            Proposal(plan, {"origin": "initial" if first else "child"})
            for plan, first in zip(plans, initial, strict=True)
        ]

    def _child(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        first, second = self._select(rng, parents), self._select(rng, parents)
        child = first
        if rng.random() < self._crossover:
            child = np.where(rng.random(len(first)) < 0.5, first, second)
        return self._steps.mutate(rng, child, self._mutation)

    def _select(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        # Parents are ranked, so the best of a tournament is the smallest index.
        return parents[rng.integers(len(parents), size=self._tournament).min()]
