"""The plans that need no search."""

from __future__ import annotations

import numpy as np

from pqsearch import rooms
from pqsearch.problem import Finished, uniform_genes
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([5] * 4, share=0.6)


def test_every_maximal_uniform_plan_is_given_once_as_it_is_and_then_no_more() -> None:
    algorithm = rooms.load("algorithms", "uniform_plans")(PROBLEM, 0)
    given = []
    for id in range(10):
        answer = algorithm.ask([id])
        if isinstance(answer, Finished):
            break
        assert answer[0].exact
        given.append(answer[0].genes)
        algorithm.asked(id, answer[0].genes, answer[0].memo)
    assert given == [tuple(row) for row in uniform_genes(PROBLEM).tolist()] == [(2, 2, 2, 2)]
    assert (PROBLEM.costs(np.array(given)) <= PROBLEM.limits).all()


def test_where_no_uniform_plan_holds_the_budget_the_search_ends_at_once() -> None:
    class Tight(Knapsack):
        @property
        def limits(self) -> np.ndarray:
            return np.array([-1.0])

    assert isinstance(rooms.load("algorithms", "uniform_plans")(Tight([3, 3]), 0).ask([0]), Finished)
