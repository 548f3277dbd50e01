"""Random search (Bergstra & Bengio, JMLR 2012): levels drawn at random, then repaired onto the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pqsearch.problem import Finished, Genes, Outcome, Problem, Proposal, Wait

#: Says to whoever reads this file that it can be told of several objectives.
SEVERAL_OBJECTIVES = True


class Algorithm:
    """The baseline that every other algorithm has to beat."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._seed = seed

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        levels = np.asarray(self._problem.levels)
        drawn = np.stack([np.random.default_rng((self._seed, id)).integers(0, levels) for id in ids])
        return [Proposal(tuple(map(int, genes))) for genes in self._problem.repair(drawn)]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        """Random search remembers nothing."""

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        """Random search learns nothing."""
