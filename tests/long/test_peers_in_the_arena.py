"""Peers from other libraries in the arena: they search, with repair or under penalties, and begin where they are told."""

from __future__ import annotations

import numpy as np
import pytest

from arena.contest import Handling, Objective, Spent, run, seeds_of
from arena.names import PEERS, contenders
from pqsearch.problem import FloatArray, Genes, IntArray
from tests.benchmarks.standin import landscape

pytestmark = pytest.mark.long
PROBLEM, SCORE, TRUTH = landscape()


class _Watched(Objective):
    plans: list[Genes]

    def __call__(self, genes: IntArray, exact: bool = False) -> FloatArray:
        self.plans.extend(map(tuple, genes.tolist()))
        return super().__call__(genes, exact)


@pytest.mark.parametrize("handling", ["repair", "penalty"])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_better_plans_than_its_first_and_repeats_itself(name: str, handling: Handling) -> None:
    first, second = (run(contenders()[name], PROBLEM, SCORE, TRUTH, 60, 1, handling) for _ in range(2))
    assert first.values.tolist() == second.values.tolist()
    assert first.used == 60
    assert np.isfinite(first.values[0])
    assert first.values[-1] < first.values[0]
    assert bool(first.over) == (handling == "penalty")


@pytest.mark.parametrize("handling", ["repair", "penalty"])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_begins_with_the_starts(name: str, handling: Handling) -> None:
    objective = _Watched(PROBLEM, SCORE, TRUTH, 40, 0, handling, starts=True)
    objective.plans = []
    with pytest.raises(Spent):
        contenders()[name](PROBLEM, objective, 40, 0)
    wanted = {tuple(map(int, plan)) for plan in objective.starts}
    assert wanted <= set(objective.plans[: len(seeds_of(PROBLEM)) + 1])
