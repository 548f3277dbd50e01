"""Plans for learning a landscape: several algorithms take turns, told all results, so that good and bad regions are seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pqsearch import rooms
from pqsearch.problem import Genes, Outcome, Problem, Proposal

#: Who proposes the candidate of each number, in turn; "thinned" plans leave part of the budgets unused.
TURNS = ("random_search", "surrogate_exchange", "genetic", "surrogate_exchange", "particle_swarm", "thinned")


class Mixture:
    """Every sixth plan each is random, a genetic child, a particle, or a thinned one; two of six are screened."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem, self._seed = problem, seed
        self._members = {
            name: rooms.load("algorithms", name)(problem, seed) for name in dict.fromkeys(TURNS) if name != "thinned"
        }

    def ask(self, ids: Sequence[int]) -> list[Proposal]:
        return [self._one(id) for id in ids]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        for member in self._members.values():
            member.asked(id, genes, memo)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        for member in self._members.values():
            member.tell(id, genes, outcome)

    def _one(self, id: int) -> Proposal:
        turn = TURNS[id % len(TURNS)]
        if turn == "thinned":
            return self._thinned(id)
        (proposal,) = self._members[turn].ask([id])
        return proposal

    def _thinned(self, id: int) -> Proposal:
        """A child of the genetic algorithm with a few knobs lowered and the slack left unused."""
        (child,) = self._members["genetic"].ask([id])
        rng = np.random.default_rng((self._seed, id, 1))
        genes = self._problem.repair(np.array([child.genes]))[0]
        chosen = rng.random(len(genes)) < rng.uniform(0.05, 0.5)
        lowered = np.maximum(genes - chosen * rng.integers(1, 3, len(genes)), 0)
        # Fewer channels can raise mean bits: where that breaks a budget the plan is repaired like any other.
        holds = bool((self._problem.costs(lowered[None])[0] <= self._problem.limits).all())
        return Proposal(tuple(map(int, lowered)), {}, exact=holds)
