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

        ends = np.array([_descend(space, value, start) for value in (cost, gain) for start in _starts(space)])
        found[name] = (float(cost(ends).min()), float(cost(ends).max()))
    return found


def find_feasible(space: Space) -> IntArray:
    """Genes of one plan under every budget; a `UserError` names what each budget can reach if there is none."""
    starts = _starts(space)
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


def _starts(space: Space) -> list[IntArray]:
    """Corners: every kind of knob all at its cheapest or all at its dearest; the cheapest of all first."""
    top = np.array(space.levels) - 1
    kinds = list(dict.fromkeys(space.kinds))
    return [
        np.array([top[knob] * (mask >> kinds.index(kind) & 1) for knob, kind in enumerate(space.kinds)])
        for mask in range(2 ** len(kinds))
    ]


def _drawn_starts(space: Space) -> IntArray:
    """Random prune rates with everything else at its cheapest: bits never help a budget, channels sometimes do."""
    draw = np.random.default_rng(0)
    genes = draw.integers(0, space.levels, (DRAWN_STARTS, len(space.levels)))
    return np.where(np.array(space.kinds) == "prune_rate", genes, 0)


def _descend(
    space: Space, value: Callable[[IntArray], FloatArray], start: IntArray, enough: float = -np.inf
) -> IntArray:
    """Steepest descent by setting one knob to any of its levels, until none lowers `value` or it is `enough`."""
    genes = start.copy()
    moves = [(knob, level) for knob, levels in enumerate(space.levels) if levels > 1 for level in range(levels)]
    best = float(value(genes[None])[0])
    # Each move lowers the value; knobs rarely need to change more than once.
    for _ in range(2 * len(space.levels)):
        if best <= enough or not moves:
            break
        neighbours = np.repeat(genes[None], len(moves), axis=0)
        neighbours[np.arange(len(moves)), [knob for knob, _ in moves]] = [level for _, level in moves]
        values = value(neighbours)
        choice = int(np.argmin(values))
        if values[choice] >= best - TOLERANCE * abs(best):
            break
        genes, best = neighbours[choice], float(values[choice])
    return genes


def _shown(value: float) -> str:
    """Rounded up in the third digit after the point, so that the number shown can be asked for."""
    return f"{np.ceil(value * 1000) / 1000:g}" if value < 1000 else f"{np.ceil(value):.0f}"
