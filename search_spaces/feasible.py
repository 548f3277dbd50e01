"""What budgets can reach, and one plan that holds them all: feasibility is exhibited, not assumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pqsearch.errors import UserError
from pqsearch.problem import FloatArray, IntArray
from search_spaces.costs import BoolArray

if TYPE_CHECKING:
    from search_spaces.space import Space

#: Relative slack of a limit: sums of whole numbers are exact, one division is not.
TOLERANCE = 1e-12
#: Further starts of the search for a feasible plan, when budgets pull against each other.
DRAWN_STARTS = 16


def holds(costs: FloatArray, limits: FloatArray) -> BoolArray:
    """Which plans (plans,) are under every limit."""
    return np.all(costs <= limits * (1 + TOLERANCE), axis=1)


def reach(space: Space) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each budget by itself, found by descent from the corners of the space."""
    found = {}
    for index, name in enumerate(space.budgets):

        def cost(genes: IntArray, index: int = index) -> FloatArray:
            return space.costs(genes)[:, index]

        def gain(genes: IntArray, index: int = index) -> FloatArray:
            return -space.costs(genes)[:, index]

        least = [_descend(space, cost, start) for start in _corners(space)]
        most = [_descend(space, gain, start) for start in _corners(space, dear=True)]
        found[name] = (float(cost(np.array(least)).min()), float(cost(np.array(most)).max()))
    return found


def find_feasible(space: Space) -> IntArray:
    """Genes of one plan under every budget; a `UserError` names what each budget can reach if there is none."""
    starts = _corners(space)
    if not space.budgets:
        return starts[0]
    possible = np.flatnonzero(holds(space.costs(np.array(starts)), space.limits))
    if len(possible):
        return starts[int(possible[0])]
    ranges = reach(space)
    problems = [
        f"budgets.{name}: smallest reachable is {_shown(ranges[name][0])}, got {limit:g}; "
        "allow that much, or give [space] cheaper levels"
        for name, limit in zip(space.budgets, space.limits, strict=True)
        if ranges[name][0] > limit * (1 + TOLERANCE)
    ]
    if problems:
        raise UserError(problems)

    def excess(genes: IntArray) -> FloatArray:
        return np.maximum(space.costs(genes) / space.limits - 1, 0).sum(1)

    best = starts[0]
    for start in [*starts, *_drawn_starts(space)]:
        end = _descend(space, excess, start, enough=0)
        if holds(space.costs(end[None]), space.limits)[0]:
            return end
        best = min(best, end, key=lambda genes: float(excess(genes[None])[0]))
    costs = space.costs(best[None])[0]
    nearest = ", ".join(f"{name} {_shown(cost)}" for name, cost in zip(space.budgets, costs, strict=True))
    asked = ", ".join(f"{name} <= {limit:g}" for name, limit in zip(space.budgets, space.limits, strict=True))
    alone = ", ".join(f"{name} {_shown(low)}" for name, (low, _) in ranges.items())
    raise UserError(
        f"budgets: cannot hold together: {asked}; each alone reaches {alone}, "
        f"the nearest plan found has {nearest}; loosen one"
    )


def _corners(space: Space, dear: bool = False) -> list[IntArray]:
    """Bits all at their cheapest (`dear`: dearest), and channels likewise or the other way round.

    More bits never cost less (but for the step that a float tensor saves), while channels pull both ways on mean bits.
    """
    top = np.array(space.levels) - 1
    ends = (top, np.zeros_like(top)) if dear else (np.zeros_like(top), top)
    return [ends[0], np.where(np.array(space.kinds) == "prune_rate", ends[1], ends[0])]


def _drawn_starts(space: Space) -> IntArray:
    """Random prune rates, all else at its cheapest."""
    draw = np.random.default_rng(0)
    genes = draw.integers(0, space.levels, (DRAWN_STARTS, len(space.levels)))
    return np.where(np.array(space.kinds) == "prune_rate", genes, 0)


def _descend(
    space: Space, value: Callable[[IntArray], FloatArray], start: IntArray, enough: float = -np.inf
) -> IntArray:
    """Descent by setting knobs to any of their levels, until no single change lowers `value` or it is `enough`.

    Each round tries every single change, then the best one, two, four, ... of them together, and keeps what is lowest.
    """
    genes, best = start.copy(), float(value(start[None])[0])
    moves = [(knob, level) for knob, levels in enumerate(space.levels) if levels > 1 for level in range(levels)]
    knobs, levels = np.array(moves, dtype=np.int64).reshape(-1, 2).T
    # Every round lowers the value; knobs rarely need to change more than once.
    for _ in range(2 * len(space.levels)):
        if best <= enough or not len(knobs):
            break
        neighbours = np.repeat(genes[None], len(knobs), axis=0)
        neighbours[np.arange(len(knobs)), knobs] = levels
        values = value(neighbours)
        order = np.argsort(values, kind="stable")
        order = order[values[order] < best - TOLERANCE * abs(best)]
        if not len(order):
            break
        _, first = np.unique(knobs[order], return_index=True)
        chosen = order[np.sort(first)]  # the best level of every knob that helps, best knob first
        sizes = sorted({*(2**power for power in range(len(chosen).bit_length())), len(chosen)})
        together = np.repeat(genes[None], len(sizes), axis=0)
        for row, size in enumerate(sizes):
            together[row, knobs[chosen[:size]]] = levels[chosen[:size]]
        values = value(together)
        genes, best = together[int(np.argmin(values))], float(values.min())
    return genes


def _shown(value: float) -> str:
    """Rounded up in the fourth digit after the point, so that the number shown can be asked for."""
    return f"{np.ceil(value * 10000) / 10000:g}" if value < 1000 else f"{np.ceil(value):.0f}"
