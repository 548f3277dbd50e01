"""Costs of whole populations, and what a single knob changes in them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pqsearch import rooms
from pqsearch.plan import FLOAT_BITS, ModelInfo, kinds_set
from pqsearch.problem import FloatArray, IntArray
from pqsearch.sparsity import Pattern
from search_spaces.latency import LatencyTable
from search_spaces.rows import ANYWHERE, Rows, Shapes, Terms

BoolArray = NDArray[np.bool_]


@dataclass
class Decoded:
    """A population in the model's terms: kept channels (plans, groups), bits and sparsity (plans, layers; None for none)."""

    kept: IntArray
    weight_bits: IntArray
    act_bits: IntArray
    sparsity: FloatArray | None = None


def costs_known(latency: LatencyTable | None) -> tuple[str, ...]:
    """Every cost that there is, with the table or without one."""
    return tuple(
        name
        for name in rooms.names("budgets")
        if latency is not None or rooms.constants("budgets", name).get("NEEDS") != "latency.table"
    )


class Costs:
    """Budgets by name over one model. A cost is the sum of `terms` over rows, in units of a fixed scale or of the float
    baseline's, or a ratio of two such sums.
    """

    def __init__(
        self,
        info: ModelInfo,
        budgets: Sequence[str],
        per_channel_steps: bool,
        latency: LatencyTable | None = None,
        pattern: Pattern = ANYWHERE,
    ) -> None:
        self.budgets = tuple(budgets)
        self.shapes = Shapes(info, per_channel_steps, latency, pattern)
        self._terms = [rooms.load("budgets", name) for name in self.budgets]
        self._scale = np.array([float(rooms.constants("budgets", name).get("SCALE", 1)) for name in self.budgets])
        bits = np.full((1, len(info.layers)), FLOAT_BITS)
        self._float = Decoded(np.array([[group.channels for group in info.groups]]), bits, bits)
        sums, _ = self.sums(self._float)
        for index, name in enumerate(self.budgets):
            if rooms.constants("budgets", name)["RELATIVE"]:
                self._scale[index] = sums[0, index]

    def sums(self, plans: Decoded) -> tuple[FloatArray, FloatArray]:
        """Numerators and denominators (plans, budgets), summed over all rows."""
        return self.sum(self.shapes.rows(plans.kept, plans.weight_bits, plans.act_bits, plans.sparsity))

    def sum(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Numerators and denominators (plans, budgets) of the rows given."""
        top, bottom = np.zeros((2, rows.plans, len(self.budgets)))
        # Terms are whole numbers, so a dot product adds them up exactly, and faster than a sum over short rows.
        ones = np.ones(rows.count)
        for index, (numerator, denominator) in enumerate(self.terms(rows)):
            top[:, index] = numerator @ ones
            if denominator is not None:
                bottom[:, index] = denominator @ ones
        return top, bottom

    def terms(self, rows: Rows) -> list[Terms]:
        """What the rows given add to each budget: numerators (plans, rows), and denominators where there are some."""
        return [terms(rows) for terms in self._terms]

    def changed_by(self, kind: str) -> list[int]:
        """Budgets that a kind of knob can change. Channels change all; what is set of layers those whose terms read it."""
        if kind == "prune_rate":
            return list(range(len(self.budgets)))
        found = []
        for index, terms in enumerate(self._terms):
            rows = self.shapes.rows(self._float.kept, self._float.weight_bits, self._float.act_bits)
            terms(rows)
            if rows.asked_for().intersection(kinds_set(kind)):
                found.append(index)
        return found

    def only(self, budgets: Sequence[int]) -> Costs:
        """The same costs, of some budgets."""
        found = copy.copy(self)
        found.budgets = tuple(self.budgets[index] for index in budgets)
        found._terms = [self._terms[index] for index in budgets]
        found._scale = self._scale[list(budgets)]
        return found

    def ratio(self, top: FloatArray, bottom: FloatArray) -> FloatArray:
        """Costs from sums. Budgets without a denominator have zeros there."""
        return top / np.where(bottom > 0, bottom, self._scale)

    def ratio_of(self, budget: int, top: FloatArray, bottom: FloatArray) -> FloatArray:
        """The same of one budget, by its place: (plans,)."""
        return top / np.where(bottom > 0, bottom, self._scale[budget])

    def __call__(self, plans: Decoded) -> FloatArray:
        """Costs (plans, budgets)."""
        return self.ratio(*self.sums(plans))
