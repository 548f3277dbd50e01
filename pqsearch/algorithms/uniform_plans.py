"""Uniform plans: the same rate and bits everywhere, every maximal one under the budgets, and then no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pqsearch.problem import Finished, Genes, Outcome, Problem, Proposal, Wait, uniform_genes

#: Says to whoever reads this file that it can be told of several objectives.
SEVERAL_OBJECTIVES = True


class Algorithm:
    """The plans that need no search; each is measured once and the search ends."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._plans = [tuple(map(int, genes)) for genes in uniform_genes(problem)]
        self._given: set[int] = set()

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        left = [index for index in range(len(self._plans)) if index not in self._given]
        if not left:
            return Finished()
        return [Proposal(self._plans[index], {"plan": index}, exact=True) for index in left[: len(ids)]]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        if "plan" in memo:
            self._given.add(memo["plan"])

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        """What a plan was worth changes nothing."""
