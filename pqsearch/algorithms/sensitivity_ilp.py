"""The plans of a sensitivity table, solved by an integer program: one shot, no search (see `_integer_program`).

HAWQ-V3 (Yao et al., ICML 2021) solves for bits; here prune rates and bits are chosen together. Without a table every knob is
taken to be worth the same, and to lose more with each level that it goes down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pqsearch.algorithms._integer_program import least_damage, planned
from pqsearch.problem import Finished, Genes, Outcome, Prior, Problem, Proposal, Wait

#: Says to whoever reads this file that it can be told of several objectives.
SEVERAL_OBJECTIVES = True


class Algorithm:
    """Proposes the integer program's plans, least damage first, and is finished."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._plans: list[Genes] | None = None
        self._seen: set[Genes] = set()

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        if self._plans is None:
            known = self._problem.prior is not None
            plans = planned(self._problem) if known else least_damage(self._problem, _convex(self._problem))
            self._plans = [tuple(plan) for plan in plans.tolist()]
        left = [plan for plan in self._plans if plan not in self._seen]
        return [Proposal(plan) for plan in left[: len(ids)]] or Finished()

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._seen.add(genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        """What a plan was worth changes nothing: the table is all it goes by."""


def _convex(problem: Problem) -> Prior:
    """The square of the share of its range that a knob gives up."""
    return [[((count - 1 - level) / max(1, count - 1)) ** 2 for level in range(count)] for count in problem.levels]
