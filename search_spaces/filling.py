"""Plans that are being filled: what one more level of a knob costs, worked out from the few rows that the knob touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pqsearch.plan import FLOAT_BITS, kinds_set
from pqsearch.problem import FloatArray, IntArray
from search_spaces.costs import BoolArray, Costs, Decoded
from search_spaces.rows import Shapes

if TYPE_CHECKING:
    from search_spaces.space import Space

#: Single steps that are looked at together before knobs are offered the slack one by one: as many as twenty plans or so have, of which
#: groups are that an algorithm tries again, since their plans were known. Of two hundred plans that is no gain any more.
MOST_FORESEEN = 2000


@dataclass(frozen=True)
class Move:
    """What moving one knob takes: the rows it touches, by column of the filling's arrays, and the budgets that it can change."""

    kind: str
    sets: tuple[str, ...]  # the kinds that it sets in `layers`, or in the group `group`
    group: int
    part: Shapes
    rows: IntArray  # (rows, 1)
    layers: IntArray  # (layers, 1), those among the rows
    by_channel: tuple[FloatArray, FloatArray]  # channels that each row reads and writes more for one more of the group
    budgets: list[int]
    costs: Costs  # of those budgets

    @classmethod
    def of(cls, space: Space, costs: Costs, knob: int) -> Move:
        kind = space.knobs[knob].kind
        group = space.knobs[knob].targets[0]
        rows = space.rows_of(knob)
        part = costs.shapes.part(rows)
        by_channel = costs.shapes.by_channel(group, rows) if kind == "prune_rate" else (np.empty((0, 1)),) * 2
        budgets = costs.changed_by(kind)
        return cls(
            kind,
            kinds_set(kind),
            group,
            part,
            rows[:, None],
            part.layers[:, None],
            by_channel,
            budgets,
            costs.only(budgets),
        )


class Filling:
    """A population being filled. Everything is kept one row a knob, group, layer or budget, with plans side by side: a knob works
    on few of those and on many plans.
    """

    def __init__(self, space: Space, costs: Costs, limits: FloatArray, genes: IntArray) -> None:
        self._space, self._costs, self._limits = space, costs, limits
        self.genes = np.asfortranarray(genes)
        #: Plans in which something was raised that can make other costs fall, since they were last looked at.
        self.eased = np.zeros(len(genes), dtype=bool)
        plans = space.expand(genes)
        self._kept, self._weight_bits, self._act_bits = (
            np.ascontiguousarray(side.T) for side in (plans.kept, plans.weight_bits, plans.act_bits)
        )
        self._sparsity = None if plans.sparsity is None else np.ascontiguousarray(plans.sparsity.T)
        rows = costs.shapes.rows(plans.kept, plans.weight_bits, plans.act_bits, plans.sparsity)
        self._reads, self._writes = np.ascontiguousarray(rows.reads.T), np.ascontiguousarray(rows.writes.T)
        # What every row adds to each budget, and the sums of that.
        terms = costs.terms(rows)
        self._tops = [np.ascontiguousarray(top.T) for top, _ in terms]
        self._bottoms = {
            budget: np.ascontiguousarray(bottom.T) for budget, (_, bottom) in enumerate(terms) if bottom is not None
        }
        self._top = np.array([top.sum(axis=0) for top in self._tops])
        self._bottom = np.zeros_like(self._top)
        for budget, bottom in self._bottoms.items():
            self._bottom[budget] = bottom.sum(axis=0)

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
        sparsity = None if self._sparsity is None else self._sparsity[:, plans].T
        steps = Decoded(self._kept[:, plans].T, self._weight_bits[:, plans].T, self._act_bits[:, plans].T, sparsity)
        self._space.write_each(steps, knobs, self.genes[plans, knobs] + 1)
        over = ~(self._costs(steps) <= self._limits).all(1)
        foreseen = np.zeros(hopeless.shape, dtype=bool)
        foreseen[plans[over], knobs[over]] = True
        hopeless |= foreseen
        return foreseen

    def raise_knob(self, knob: int, move: Move, target: IntArray, hopeless: BoolArray) -> IntArray:
        """Raise one knob by one level in every plan that has room for it; returns those plans.

        Only the rows and the budgets that the knob touches are computed again. Terms are whole numbers, so that sums stay
        exact however often they are changed.
        """
        chosen = np.flatnonzero((self.genes[:, knob] < target[:, knob]) & ~hopeless[:, knob])
        if not len(chosen):
            return chosen
        value = self._space.meaning(knob, self.genes[chosen, knob] + 1)
        here = move.rows, chosen
        reads, writes = self._reads[here], self._writes[here]
        weight_bits, act_bits = self._weight_bits[move.layers, chosen], self._act_bits[move.layers, chosen]
        sparsity = None if self._sparsity is None else self._sparsity[move.layers, chosen]
        if move.kind == "prune_rate":
            more = value - self._kept[move.group, chosen]
            reads += move.by_channel[0] * more
            writes += move.by_channel[1] * more
        else:
            if "weight_bits" in move.sets:
                weight_bits[:] = value
            if "act_bits" in move.sets:
                act_bits[:] = value
            if sparsity is not None and "sparsity" in move.sets:
                sparsity[:] = value
        sparse = None if sparsity is None else sparsity.T
        terms = move.costs.terms(move.part.rows_of(reads.T, writes.T, weight_bits.T, act_bits.T, sparse))
        sums, fits = [], np.ones(len(chosen), dtype=bool)
        for place, (budget, (top, bottom)) in enumerate(zip(move.budgets, terms, strict=True)):
            of_top = self._top[budget, chosen] + (top.T - self._tops[budget][here]).sum(0)
            of_bottom = self._bottom[budget, chosen]
            if bottom is not None:
                of_bottom += (bottom.T - self._bottoms[budget][here]).sum(0)
            fits &= move.costs.ratio_of(place, of_top, of_bottom) <= self._limits[budget]
            sums.append((of_top, of_bottom))
        hopeless[chosen[~fits], knob] = True
        raised = chosen[fits]
        if not len(raised):
            return raised
        self.genes[raised, knob] += 1
        here = move.rows, raised
        for budget, (top, bottom), (of_top, of_bottom) in zip(move.budgets, terms, sums, strict=True):
            self._top[budget, raised], self._bottom[budget, raised] = of_top[fits], of_bottom[fits]
            self._tops[budget][here] = top[fits].T
            if bottom is not None:
                self._bottoms[budget][here] = bottom[fits].T
        value = value[fits]
        if move.kind == "prune_rate":
            self._kept[move.group, raised] = value
            self._reads[here], self._writes[here] = reads[:, fits], writes[:, fits]
        else:
            if "weight_bits" in move.sets:
                self._weight_bits[here] = value
            if "act_bits" in move.sets:
                self._act_bits[here] = value
            if self._sparsity is not None and "sparsity" in move.sets:
                self._sparsity[here] = value
        # Bits cost more the more they are, but for the step size that a float tensor saves.
        self.eased[raised] |= (value == FLOAT_BITS) | (move.kind == "prune_rate")
        return raised
