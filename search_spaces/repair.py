"""Repair: any genes become a plan under every budget that also uses its budgets up.

Down: for each budget that is broken, the knobs that lower it move together from what was asked towards a known feasible
plan, as little as a binary search finds enough. Up: knobs are raised level by level, first back towards what was asked,
then wherever there is room, until no single level fits. Both are deterministic and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pqsearch.problem import FloatArray, IntArray
from search_spaces.costs import Costs, Decoded
from search_spaces.feasible import TOLERANCE, holds
from search_spaces.rows import Shapes

if TYPE_CHECKING:
    from search_spaces.space import Space

BISECTIONS = 8
BLOCK = 512
#: Orders in which knobs are offered the slack; a plan's own genes choose one, so that no layer is always first.
ORDERS = 2
GOLDEN = 0.6180339887498949


class Repair:
    """Repairs populations of genes for one space; `anchor` is a feasible plan to walk towards."""

    def __init__(self, space: Space, costs: Costs, anchor: IntArray) -> None:
        self._space = space
        self._costs = costs
        self._anchor = anchor
        self._top = np.array(space.levels) - 1
        self._limits = space.limits * (1 + TOLERANCE)
        self._phase = (np.arange(len(space.levels)) * GOLDEN) % 1
        self._free = np.flatnonzero(self._top)
        self._orders = [np.random.default_rng(seed).permutation(self._free) for seed in range(ORDERS)]
        self._parts = [costs.shapes.part(space.rows_of(knob)) for knob in range(len(space.levels))]
        self._walks = list(self._levers())

    def _levers(self) -> Iterable[tuple[int, IntArray]]:
        """For each budget the knobs that lower it on the way to the anchor, budgets with the fewest kinds first."""
        kinds = np.array(self._space.kinds)
        dear = self._space.costs(self._top[None])[0]
        found = []
        for budget in range(len(self._limits)):
            levers = []
            for kind in dict.fromkeys(self._space.kinds):
                genes = np.where(kinds == kind, self._anchor, self._top)
                if self._space.costs(genes[None])[0, budget] < dear[budget] * (1 - 1e-9):
                    levers.append(kind)
            found.append((len(levers), budget, np.isin(kinds, levers)))
        for _, budget, mask in sorted(found, key=lambda row: row[:2]):
            yield budget, mask

    def __call__(self, genes: IntArray) -> IntArray:
        asked = np.clip(genes.astype(np.int64), 0, self._top)
        if not len(self._limits):
            return np.tile(self._top, (len(asked), 1))
        found = asked.copy()
        # Blocks that stay in the processor's cache are several times faster than one large population.
        for start in range(0, len(asked), BLOCK):
            found[start : start + BLOCK] = self._lower(asked[start : start + BLOCK])
        choice = (asked * (np.arange(asked.shape[1]) * 2 + 1)).sum(1) % ORDERS
        for order in range(ORDERS):
            plans = np.flatnonzero(choice == order)
            if len(plans):
                found[plans] = self._fill(found[plans], asked[plans], self._orders[order])
        return found

    def _lower(self, asked: IntArray) -> IntArray:
        found = asked.copy()
        for budget, mask in self._walks:
            self._walk(found, mask, [budget])
        broken = ~holds(self._space.costs(found), self._space.limits)
        if broken.any():
            # Budgets that pull against each other: all knobs towards the anchor, where all budgets hold.
            part = found[broken]
            self._walk(part, np.ones(found.shape[1], dtype=bool), range(len(self._limits)))
            found[broken] = part
        return found

    def _walk(self, genes: IntArray, mask: np.ndarray, budgets: Iterable[int]) -> None:
        """Move the masked knobs, in place, just far enough towards the anchor for `budgets` to hold (or all the way)."""
        columns = list(budgets)
        limits, cost = self._limits[columns], self._costs.only(columns)

        def fit(genes: IntArray) -> np.ndarray:
            return (cost(self._space.expand(genes)) <= limits).all(1)

        plans = np.flatnonzero(~fit(genes))
        if not len(plans):
            return
        start = genes[plans]
        distance = np.where(mask, self._anchor - start, 0)

        def at(share: FloatArray) -> IntArray:
            moved = np.floor(np.abs(distance) * share[:, None] + self._phase)
            return start + np.sign(distance) * np.minimum(moved, np.abs(distance)).astype(np.int64)

        low, high = np.zeros(len(plans)), np.ones(len(plans))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            fits = fit(at(middle))
            high = np.where(fits, middle, high)
            low = np.where(fits, low, middle)
        genes[plans] = at(high)

    def _fill(self, genes: IntArray, asked: IntArray, order: IntArray) -> IntArray:
        plans = self._space.expand(genes)
        state = _Filling(self._space, self._costs, self._limits, genes.copy(), plans)
        tops = np.broadcast_to(self._top, genes.shape)
        # Back to what was asked before anything else is given away.
        for target in (np.asfortranarray(np.maximum(asked, genes)), tops):
            hopeless = np.zeros(genes.shape, dtype=bool, order="F")
            while True:
                moved = False
                for knob in order:
                    moved |= state.raise_knob(knob, self._parts[knob], target, hopeless)
                if moved:
                    continue
                # Mean bits can fall when channels return, so what failed before gets a last look.
                if not hopeless.any() or not self._second_look(state, order, target, hopeless):
                    break
        return state.genes

    def _second_look(self, state: _Filling, order: IntArray, target: IntArray, hopeless: np.ndarray) -> bool:
        hopeless[:] = False
        moved = False
        for knob in order:
            moved |= state.raise_knob(knob, self._parts[knob], target, hopeless)
        return moved


class _Filling:
    """A population being filled, with the sums behind its costs kept up to date row by row."""

    def __init__(self, space: Space, costs: Costs, limits: FloatArray, genes: IntArray, plans: Decoded) -> None:
        self._space, self._costs, self._limits = space, costs, limits
        self.genes = np.asfortranarray(genes)
        self._plans = Decoded(*map(np.asfortranarray, (plans.kept, plans.weight_bits, plans.act_bits)))
        self._top, self._bottom = costs.sums(plans)

    def raise_knob(self, knob: int, part: Shapes, target: IntArray, hopeless: np.ndarray) -> bool:
        """Raise one knob by one level in every plan that has room for it; returns whether any did.

        `part` holds the rows that the knob touches: only they are computed again.
        """
        chosen = np.flatnonzero((self.genes[:, knob] < target[:, knob]) & ~hopeless[:, knob])
        if not len(chosen):
            return False
        kind, place = self._space.knobs[knob].kind, self._space.knobs[knob].target
        plans = Decoded(
            _columns(self._plans.kept, part.groups, chosen),
            _columns(self._plans.weight_bits, part.layers, chosen),
            _columns(self._plans.act_bits, part.layers, chosen),
        )
        top, bottom = self._costs.sum(part.rows(plans.kept, plans.weight_bits, plans.act_bits))
        value = self._space.tables[knob][self.genes[chosen, knob] + 1]
        column = np.searchsorted(part.groups if kind == "prune_rate" else part.layers, place)
        self._space.side(plans, kind)[:, column] = value
        new_top, new_bottom = self._costs.sum(part.rows(plans.kept, plans.weight_bits, plans.act_bits))
        new_top += self._top[chosen] - top
        new_bottom += self._bottom[chosen] - bottom
        fits = (self._costs.ratio(new_top, new_bottom) <= self._limits).all(1)
        hopeless[chosen[~fits], knob] = True
        if not fits.any():
            return False
        raised = chosen[fits]
        self.genes[raised, knob] += 1
        self._top[raised], self._bottom[raised] = new_top[fits], new_bottom[fits]
        self._space.side(self._plans, kind)[raised, place] = value[fits]
        return True


def _columns(values: IntArray, columns: IntArray, plans: IntArray) -> IntArray:
    """Some columns of some plans, one column after another: a population's arrays are stored by column here."""
    found = np.empty((len(columns), len(plans)), dtype=values.dtype)
    for row, column in enumerate(columns):
        np.take(values[:, column], plans, out=found[row])
    return found.T
