"""Repair: any genes become a plan under every budget that also uses its budgets up.

Down: for each budget that is broken, the knobs that lower it move together from what was asked towards a known feasible
plan, as little as a binary search finds enough. Up: knobs are raised level by level, first back towards what was asked,
then wherever there is room, until no single level fits; knobs that cost an objective go no higher than what was asked. Both
are deterministic and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pqsearch.plan import FLOAT_BITS
from pqsearch.problem import FloatArray, IntArray
from search_spaces.costs import BoolArray, Costs, Decoded
from search_spaces.feasible import TOLERANCE, holds
from search_spaces.rows import Shapes

if TYPE_CHECKING:
    from search_spaces.space import Space

BISECTIONS = 8
BLOCK = 512
#: Single steps that are looked at together before knobs are offered the slack one by one.
MOST_FORESEEN = 200
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
        self._moves = [_Move.of(space, costs, knob) for knob in range(len(space.levels))]
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
        rows = shapes.rows(plans.kept, plans.weight_bits, plans.act_bits)
        channels = any(self._moves[knob].kind == "prune_rate" for knob in moving)

        def at(share: FloatArray) -> IntArray:
            steps = np.floor(most * share[:, None] + self._phase[moving]).astype(np.int64)
            return start + sign * np.minimum(steps, most)

        low, high = np.zeros(len(broken)), np.ones(len(broken))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            self._space.write(plans, moving, at(middle))
            if channels:
                rows = shapes.rows(plans.kept, plans.weight_bits, plans.act_bits)
            else:
                rows = rows.at_bits(plans.weight_bits, plans.act_bits)
            fits = (costs.ratio(*costs.sum(rows)) <= limits).all(1)
            high = np.where(fits, middle, high)
            low = np.where(fits, low, middle)
        genes[np.ix_(broken, moving)] = at(high)

    def _fill(self, genes: IntArray, asked: IntArray, order: IntArray) -> IntArray:
        plans = self._space.expand(genes)
        state = _Filling(self._space, self._costs, self._limits, genes.copy(), plans)
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

    def _second_look(self, state: _Filling, order: IntArray, target: IntArray, hopeless: BoolArray) -> bool:
        hopeless[state.eased] = False
        state.eased[:] = False
        return self._raise_all(state, order, target, hopeless)

    def _raise_all(self, state: _Filling, order: IntArray, target: IntArray, hopeless: BoolArray) -> bool:
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


@dataclass(frozen=True)
class _Move:
    """What moving one knob takes: the rows it touches, and the budgets that it can change."""

    kind: str
    target: int
    column: int  # of the target among the part's groups or layers
    part: Shapes
    budgets: IntArray
    costs: Costs  # of those budgets

    @classmethod
    def of(cls, space: Space, costs: Costs, knob: int) -> _Move:
        kind, target = space.knobs[knob].kind, space.knobs[knob].target
        part = costs.shapes.part(space.rows_of(knob))
        column = int(np.searchsorted(part.groups if kind == "prune_rate" else part.layers, target))
        budgets = costs.changed_by(kind)
        return cls(kind, target, column, part, np.array(budgets, dtype=np.int64), costs.only(budgets))


class _Filling:
    """A population being filled, with the sums behind its costs kept up to date row by row."""

    def __init__(self, space: Space, costs: Costs, limits: FloatArray, genes: IntArray, plans: Decoded) -> None:
        self._space, self._costs, self._limits = space, costs, limits
        self.genes = np.asfortranarray(genes)
        self._plans = Decoded(*map(np.asfortranarray, (plans.kept, plans.weight_bits, plans.act_bits)))
        #: Plans in which something was raised that can make other costs fall, since they were last looked at.
        self.eased = np.zeros(len(genes), dtype=bool)
        # One row a budget: a knob that changes a single budget then works on contiguous memory.
        self._top, self._bottom = (np.ascontiguousarray(sums.T) for sums in costs.sums(plans))

    def foresee(self, among: IntArray, columns: IntArray, target: IntArray, hopeless: BoolArray) -> BoolArray | None:
        """Mark single steps of some plans and knobs that do not fit now: they will not later either, unless something is eased.

        Returns what it marked; None where that is not worth it: of a few plans one look at all steps costs as much as a
        few looks at one.
        """
        part = np.ix_(among, columns)
        rows, places = np.nonzero((self.genes[part] < target[part]) & ~hopeless[part])
        if not 0 < len(rows) <= MOST_FORESEEN:
            return None
        plans, knobs = among[rows], columns[places]
        steps = Decoded(self._plans.kept[plans], self._plans.weight_bits[plans], self._plans.act_bits[plans])
        self._space.write_each(steps, knobs, self.genes[plans, knobs] + 1)
        over = ~(self._costs(steps) <= self._limits).all(1)
        foreseen = np.zeros(hopeless.shape, dtype=bool)
        foreseen[plans[over], knobs[over]] = True
        hopeless |= foreseen
        return foreseen

    def raise_knob(self, knob: int, move: _Move, target: IntArray, hopeless: BoolArray) -> IntArray:
        """Raise one knob by one level in every plan that has room for it; returns those plans.

        Only the rows and the budgets that the knob touches are computed again.
        """
        chosen = np.flatnonzero((self.genes[:, knob] < target[:, knob]) & ~hopeless[:, knob])
        if not len(chosen):
            return chosen
        part, costs = move.part, move.costs
        plans = Decoded(
            _columns(self._plans.kept, part.groups, chosen),
            _columns(self._plans.weight_bits, part.layers, chosen),
            _columns(self._plans.act_bits, part.layers, chosen),
        )
        rows = part.rows(plans.kept, plans.weight_bits, plans.act_bits)
        old_top, old_bottom = costs.sum(rows)
        value = self._space.meaning(knob, self.genes[chosen, knob] + 1)
        self._space.side(plans, move.kind)[:, move.column] = value
        if move.kind == "prune_rate":
            rows = part.rows(plans.kept, plans.weight_bits, plans.act_bits)
        else:
            rows = rows.at_bits(plans.weight_bits, plans.act_bits)
        top, bottom = costs.sum(rows)
        where = np.ix_(move.budgets, chosen)
        top += self._top[where].T - old_top
        bottom += self._bottom[where].T - old_bottom
        fits = (costs.ratio(top, bottom) <= self._limits[move.budgets]).all(1)
        hopeless[chosen[~fits], knob] = True
        raised = chosen[fits]
        if not len(raised):
            return raised
        self.genes[raised, knob] += 1
        where = np.ix_(move.budgets, raised)
        self._top[where], self._bottom[where] = top[fits].T, bottom[fits].T
        self._space.side(self._plans, move.kind)[raised, move.target] = value[fits]
        # Bits cost more the more they are, but for the step size that a float tensor saves.
        self.eased[raised] |= (value[fits] == FLOAT_BITS) | (move.kind == "prune_rate")
        return raised


def _columns(values: IntArray, columns: IntArray, plans: IntArray) -> IntArray:
    """Some columns of some plans, one column after another: a population's arrays are stored by column here."""
    found = np.empty((len(columns), len(plans)), dtype=values.dtype)
    for row, column in enumerate(columns):
        np.take(values[:, column], plans, out=found[row])
    return found.T
