"""A steady-state genetic algorithm: tournament selection, uniform crossover, mutation by level steps, elitism.

Syswerda, A Study of Reproduction in Generational and Steady-State Genetic Algorithms, FOGA 1991. The parents are the best
`population` candidates of the whole history, so the best are never lost; each arriving result may replace the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._breeding import Breeding
from pqsearch.problem import Finished, Genes, Outcome, Problem, Proposal, Wait
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
        self._archive = Archive(population)
        self._breeding = Breeding(
            problem,
            seed,
            population=population,
            tournament=tournament,
            crossover=crossover,
            mutation=mutation,
            spread=spread,
        )

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        return self._breeding.proposals(ids, self._archive)

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)
