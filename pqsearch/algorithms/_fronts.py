"""Non-dominated sorting and crowding, as in Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pqsearch.problem import FloatArray, IntArray


def compared(a: FloatArray, b: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of points (n, objectives) and (m, objectives), as (n, m): is the first nowhere worse, is it nowhere better."""
    shape = len(a), len(b)
    not_worse, not_better = np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
    for mine, theirs in zip(a.T, b.T, strict=True):
        not_worse &= mine[:, None] <= theirs
        not_better &= mine[:, None] >= theirs
    return not_worse, not_better


def dominates(a: FloatArray, b: FloatArray) -> NDArray[np.bool_]:
    """Whether each of `a` is nowhere worse than each of `b`, and somewhere better."""
    not_worse, not_better = compared(a, b)
    return not_worse & ~not_better


def fronts(values: FloatArray, dominators: IntArray | None = None, enough: int | None = None) -> IntArray:
    """The front that each point (points, objectives) is in, minimising; 0 is the best, equal points share one.

    Where it is known how many dominate each point, `dominators` spares comparing all with all. Once `enough` points have
    their front, all others are put into the next.
    """
    left = dominates(values, values).sum(0) if dominators is None else dominators.copy()
    wanted = len(values) if enough is None else min(enough, len(values))
    found = np.full(len(values), -1, dtype=np.int64)
    front = ranked = 0
    while ranked < wanted:
        members = np.flatnonzero((left == 0) & (found < 0))
        found[members] = front
        ranked += len(members)
        front += 1
        if ranked < wanted:
            left -= dominates(values[members], values).sum(0)
    found[found < 0] = front
    return found


def crowding(values: FloatArray) -> FloatArray:
    """How much room each point of one front has: the sum over objectives of the gap between its neighbours.

    Outermost points have infinite room, a point equal to an earlier one has none and takes none.
    """
    distinct, first = np.unique(values, axis=0, return_index=True)
    room = np.zeros(len(distinct))
    for column in distinct.T:
        order = np.argsort(column, kind="stable")
        ranked = column[order]
        room[order[[0, -1]]] = np.inf
        if ranked[-1] > ranked[0]:
            room[order[1:-1]] += (ranked[2:] - ranked[:-2]) / (ranked[-1] - ranked[0])
    found = np.zeros(len(values))
    found[first] = room
    return found
