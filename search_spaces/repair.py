"""Repair: any genes become a plan under every budget that also uses its budgets up.

Down: for each budget that is broken, the knobs that lower it move together from what was asked towards a known feasible
plan, as little as a binary search finds enough. Up: knobs are raised level by level, first back towards what was asked,
then wherever there is room, until no single level fits; knobs that cost an objective go no higher than what was asked. Both
are deterministic and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pqsearch.problem import FloatArray, IntArray
from search_spaces.costs import BoolArray, Costs
from search_spaces.feasible import TOLERANCE, holds
from search_spaces.filling import Filling, Move

if TYPE_CHECKING:
    from search_spaces.space import Space

BISECTIONS = 8
BLOCK = 512
#: Repaired plans that are known again.
MOST_KNOWN = 20_000
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
        self._free_mask = self._top > 0
        self._spared = np.isin(np.array(space.kinds), space.spared)
        free = np.flatnonzero(self._free_mask)
        self._orders = [np.random.default_rng(seed).permutation(free) for seed in range(ORDERS)]
        self._moves = [Move.of(space, costs, knob) for knob in range(len(space.levels))]
        self._walks = list(self._levers())
        # What was repaired once stays as it is: an algorithm repairs its proposals, and a study repairs them again.
        self._repaired: set[bytes] = set()

    def _levers(self) -> Iterable[tuple[int, BoolArray]]:
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
            return np.where(self._spared, asked, self._top)
        new = np.array([row.tobytes() not in self._repaired for row in asked], dtype=bool)
        found = asked.copy()
        found[new] = self._repair(asked[new])
        if len(self._repaired) > MOST_KNOWN:
            self._repaired.clear()
        self._repaired.update(row.tobytes() for row in found[new])
        return found

    def _repair(self, asked: IntArray) -> IntArray:
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

    def _walk(self, genes: IntArray, mask: BoolArray, budgets: Iterable[int]) -> None:
        """Move the masked knobs, in place, towards the anchor, only as far as `budgets` need (or all the way)."""
        columns = list(budgets)
        limits, costs = self._limits[columns], self._costs.only(columns)
        whole = costs(self._space.expand(genes))
        broken = np.flatnonzero(~(whole <= limits).all(1))
        moving = np.flatnonzero(mask & self._free_mask)
        if not len(broken) or not len(moving):
            return
        start = genes[np.ix_(broken, moving)]
        distance = self._anchor[moving] - start
        sign, most = np.sign(distance), np.abs(distance)
        plans = self._space.expand(genes[broken])
        shapes = costs.shapes
        rows = shapes.rows(plans.kept, plans.weight_bits, plans.act_bits, plans.sparsity)
        channels = any(self._moves[knob].kind == "prune_rate" for knob in moving)

        def at(share: FloatArray) -> IntArray:
            steps = np.floor(most * share[:, None] + self._phase[moving]).astype(np.int64)
            return start + sign * np.minimum(steps, most)

        low, high = np.zeros(len(broken)), np.ones(len(broken))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            self._space.write(plans, moving, at(middle))
            if channels:
                rows = shapes.rows(plans.kept, plans.weight_bits, plans.act_bits, plans.sparsity)
            else:
                rows = rows.at(plans.weight_bits, plans.act_bits, plans.sparsity)
            fits = (costs.ratio(*costs.sum(rows)) <= limits).all(1)
            high = np.where(fits, middle, high)
            low = np.where(fits, low, middle)
        genes[np.ix_(broken, moving)] = at(high)

    def _fill(self, genes: IntArray, asked: IntArray, order: IntArray) -> IntArray:
        state = Filling(self._space, self._costs, self._limits, genes)
        wanted = np.asfortranarray(np.maximum(asked, genes))
        # Back to what was asked before anything else is given away.
        for target in (wanted, np.asfortranarray(np.where(self._spared, wanted, self._top))):
            hopeless = np.zeros(genes.shape, dtype=bool, order="F")
            state.eased[:] = False
            while True:
                if self._raise_all(state, order, target, hopeless):
                    continue
                # Mean bits can fall when channels return, so what failed before they did gets a last look.
                if not (hopeless.any(1) & state.eased).any() or not self._second_look(state, order, target, hopeless):
                    break
        return state.genes

    def _second_look(self, state: Filling, order: IntArray, target: IntArray, hopeless: BoolArray) -> bool:
        hopeless[state.eased] = False
        state.eased[:] = False
        return self._raise_all(state, order, target, hopeless)

    def _raise_all(self, state: Filling, order: IntArray, target: IntArray, hopeless: BoolArray) -> bool:
        """Offer one level to every knob that has any room; returns whether any was taken."""
        foreseen = state.foresee(np.arange(len(target)), order, target, hopeless)
        open_ = (state.genes < target) & ~hopeless
        room: BoolArray = np.any(open_, axis=0)
        # With much room most steps fit, and looking ahead once more does not pay.
        tight = foreseen is not None and foreseen.sum() > 2 * open_.sum()
        moved = False
        for place, knob in enumerate(order):
            if not room[knob]:
                continue
            raised = state.raise_knob(knob, self._moves[knob], target, hopeless)
            moved |= len(raised) > 0
            if len(raised) and foreseen is not None:
                # Where something was eased, what did not fit before may fit now: the knobs that come later are tried after all.
                later = order[place + 1 :]
                again = np.ix_(raised[state.eased[raised]], later)
                hopeless[again] &= ~foreseen[again]
                more = state.foresee(raised, later, target, hopeless) if tight else None
                if more is not None:
                    foreseen |= more
                room = np.any((state.genes < target) & ~hopeless, axis=0)
        return moved
