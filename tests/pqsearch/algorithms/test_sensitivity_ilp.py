"""The integer program's plans as a search."""

from __future__ import annotations

import numpy as np

from tests.pqsearch.algorithms.folding import make, proposals
from tests.pqsearch.problems import Knapsack


def test_a_prior_may_be_an_array() -> None:
    prior = np.sort(np.random.default_rng(0).random((6, 4)))[:, ::-1]
    array, lists = (make("sensitivity_ilp", Knapsack([4] * 6, prior=one)) for one in (prior, prior.tolist()))
    assert proposals(array, 0, 3) == proposals(lists, 0, 3)
