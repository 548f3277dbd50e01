"""NSGA-II, steady-state: parents are the best non-dominated fronts of the whole history, thinned where they are crowded.

Deb, Pratap, Agarwal & Meyarivan, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE Transactions on
Evolutionary Computation 2002. Binary tournaments by (front, crowding) choose the parents; results of a higher rung come before
all of a lower one. There are no generations: each arriving result may replace the worst survivor (Durillo et al., 2009). With
one objective every front is one value, and the best of the history survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pqsearch.algorithms._breeding import Breeding
from pqsearch.algorithms._front_archive import FrontArchive
from pqsearch.problem import Finished, Genes, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range

#: Says to whoever reads this file that it trades several objectives off.
SEVERAL_OBJECTIVES = True


class Algorithm:
    """NSGA-II over level space."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        population: Annotated[
            int, Doc("Survivors that breed, and random candidates before breeding."), Range(2, 10000)
        ] = 16,
        crossover: Annotated[float, Doc("Chance that a child has two parents."), Range(0, 1)] = 0.9,
        mutation: Annotated[float, Doc("Expected number of knobs that a child changes."), Range(0, 1000)] = 3.0,
        spread: Annotated[
            float, Doc("Levels by which initial candidates scatter around uniform plans."), Range(0, 100)
        ] = 0.5,
    ) -> None:
        self._archive = FrontArchive(population)
        self._breeding = Breeding(
            problem,
            seed,
            population=population,
            tournament=2,
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
