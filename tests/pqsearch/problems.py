"""Small problems for algorithms and studies: a knapsack of levels under budgets, and scores that can be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pqsearch.plan import Plan
from pqsearch.plan_table import PlanTable
from pqsearch.problem import FloatArray, Genes, IntArray, Prior

#: Algorithms that propose a list of plans, whatever comes back, and are finished.
LISTS = frozenset({"sensitivity_ilp", "uniform_plans"})


@dataclass(frozen=True)
class Knapsack:
    """Knobs of one kind whose levels cost their number times the knob's weight; at most `share` of the dearest plan."""

    levels: Sequence[int]
    share: float = 0.5
    weights: Sequence[float] = field(default=())
    prior: Prior | None = None
    planned: IntArray | None = None
    spared: Sequence[str] = ()

    @cached_property
    def _weights(self) -> FloatArray:
        return np.array(self.weights or [1 + knob % 3 for knob in range(len(self.levels))], dtype=np.float64)

    @property
    def kinds(self) -> Sequence[str]:
        return ["weight_bits"] * len(self.levels)

    @property
    def values(self) -> Sequence[Sequence[float]]:
        return [list(range(2, 2 + levels)) for levels in self.levels]

    @property
    def grid(self) -> dict[str, Sequence[float]]:
        return {"weight_bits": list(range(2, 2 + max(self.levels)))}

    @property
    def budgets(self) -> Sequence[str]:
        return ["bits"]

    @property
    def limits(self) -> FloatArray:
        top = np.array(self.levels) - 1
        return np.array([self.share * float(top @ self._weights)])

    def costs(self, genes: IntArray) -> FloatArray:
        return (np.asarray(genes) @ self._weights)[:, None]

    def repair(self, genes: IntArray) -> IntArray:
        """Lower from the last knob on until it fits, then raise from the first on while it fits."""
        top, limit = np.array(self.levels) - 1, self.limits[0]
        found = np.clip(np.asarray(genes, dtype=np.int64), 0, top)
        slack = limit - found @ self._weights
        for knob, weight in reversed(list(enumerate(self._weights))):
            down = np.minimum(found[:, knob], np.ceil(np.maximum(0.0, -slack) / weight)).astype(np.int64)
            found[:, knob] -= down
            slack += down * weight
        for knob, weight in enumerate(self._weights):
            up = np.minimum(top[knob] - found[:, knob], np.floor(np.maximum(0.0, slack) / weight)).astype(np.int64)
            found[:, knob] += up
            slack -= up * weight
        return found

    @property
    def table(self) -> PlanTable:
        return PlanTable([("weight_bits", f"layer{knob}", values) for knob, values in enumerate(self.values)])

    def decode(self, genes: Genes) -> Plan:
        return self.table.plan(genes)

    def encode(self, plan: Plan) -> Genes:
        return tuple(plan.layer(f"layer{knob}").weight_bits - 2 for knob in range(len(self.levels)))

    def all_costs(self, genes: IntArray) -> list[dict[str, float]]:
        return [{"bits": float(cost)} for cost in self.costs(genes)[:, 0]]

    def costs_of(self, plan: Plan) -> dict[str, float]:
        return {"bits": float(self.costs(np.array([self.encode(plan)]))[0, 0])}


@dataclass(frozen=True)
class Free(Knapsack):
    """Knobs under no budget, and nothing to fill."""

    share: float = 1.0

    def repair(self, genes: IntArray) -> IntArray:
        return np.clip(np.asarray(genes, dtype=np.int64), 0, np.array(self.levels) - 1)


Score = Callable[[Genes], float]


def separable(problem: Knapsack, seed: int = 0) -> Score:
    """Each knob has its own worth; to be minimised, 0 to 1."""
    worth = np.random.default_rng(seed).random(len(problem.levels))
    top = np.maximum(1, np.array(problem.levels) - 1)
    return lambda genes: 1 - float(worth @ (np.array(genes) / top) / worth.sum())


def coupled(problem: Knapsack, seed: int = 0) -> Score:
    """Neighbouring knobs are worth something only together."""
    worth = np.random.default_rng(seed).random(len(problem.levels))
    top = np.maximum(1, np.array(problem.levels) - 1)

    def score(genes: Genes) -> float:
        shares = np.array(genes) / top
        return 1 - float(worth @ (shares * np.roll(shares, 1)) / worth.sum())

    return score


def deceptive(problem: Knapsack, seed: int = 0) -> Score:
    """Half-way levels look worse than none: only whole ones pay."""
    worth = np.random.default_rng(seed).random(len(problem.levels))
    top = np.maximum(1, np.array(problem.levels) - 1)

    def score(genes: Genes) -> float:
        shares = np.array(genes) / top
        return 1 - float(worth @ np.where(shares == 1, 1.0, 0.4 * (1 - shares)) / worth.sum())

    return score
