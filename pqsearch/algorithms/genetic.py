"""A steady-state genetic algorithm: tournament selection, uniform crossover, mutation by level steps, elitism.

Syswerda, A Study of Reproduction in Generational and Steady-State Genetic Algorithms, FOGA 1991. The parents are the best
`population` candidates of the whole history, so the best are never lost; each arriving result may replace the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, Genes, IntArray, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range


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
        self._seed = seed
        self._population = population
        self._tournament = tournament
        self._crossover = crossover
        self._mutation = mutation
        self._archive = Archive(population)
        self._starts = Starts(problem, spread)
        self._steps = Steps(problem)

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        """Initial candidates while fewer than `population` were asked, children of the best afterwards."""
        parents = self._archive.parents()
        born = len(self._archive.asked)
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        initial = [born + offset < self._population or len(parents) < 2 for offset in range(len(ids))]
        genes = [
            self._starts.draw(rng) if first else self._child(rng, parents)
            for rng, first in zip(rngs, initial, strict=True)
        ]
        plans = self._steps.novel(rngs, genes, self._archive.seen, self._mutation)
        return [
            Proposal(plan, {"origin": "initial" if first else "child"})
            for plan, first in zip(plans, initial, strict=True)
        ]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)

    def _child(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        first, second = self._select(rng, parents), self._select(rng, parents)
        child = first
        if rng.random() < self._crossover:
            child = np.where(rng.random(len(first)) < 0.5, first, second)
        return self._steps.mutate(rng, child, self._mutation)

    def _select(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        # Parents are ranked, so the best of a tournament is the smallest index.
        return parents[rng.integers(len(parents), size=self._tournament).min()]
