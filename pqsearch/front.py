"""The Pareto front of a study with several objectives, and how much it covers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pqsearch.algorithms._fronts import fronts
from pqsearch.problem import FloatArray
from pqsearch.study_state import StudyState

#: Places at which the growth of the hypervolume is written down, at most.
MOST_PLACES = 200


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """The volume between points (points, objectives), all minimised, and a reference that is worse than all. Exact.

    One sweep for up to three objectives (Beume et al., 2009); above, slices along the last one (Knowles, 2002).
    """
    points = points[(points < reference).all(1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    if points.shape[1] == 2:
        return _Stairs(reference).climb(points)
    if points.shape[1] > 3:
        points = points[fronts(points, enough=1) == 0]
    points = points[np.argsort(points[:, -1], kind="stable")]
    thickness = np.diff(np.append(points[:, -1], reference[-1])).tolist()
    if points.shape[1] > 3:
        slices = (hypervolume(points[: place + 1, :-1], reference[:-1]) for place in range(len(points)))
        return sum(thick * volume for thick, volume in zip(thickness, slices, strict=True))
    stairs, area, volume = _Stairs(reference), 0.0, 0.0
    for point, thick in zip(points.tolist(), thickness, strict=True):
        area += stairs.add(point[0], point[1])
        volume += area * thick
    return volume


class _Stairs:
    """The corners of the area between points of two objectives and a reference: x grows, y falls."""

    def __init__(self, reference: FloatArray) -> None:
        self._right, self._roof = float(reference[0]), float(reference[1])
        self._xs: list[float] = []
        self._ys: list[float] = []

    def climb(self, points: FloatArray) -> float:
        """The area of points (points, 2) that are better than the reference, where there were none before."""
        return sum(self.add(x, y) for x, y in points[np.lexsort(points.T[::-1])].tolist())

    def add(self, x: float, y: float) -> float:
        """The area that a point adds."""
        xs, ys = self._xs, self._ys
        first = last = bisect_right(xs, x)
        roof = ys[first - 1] if first else self._roof
        if roof <= y:
            return 0.0
        left, added = x, 0.0
        while last < len(xs) and ys[last] >= y:
            added += (xs[last] - left) * (roof - y)
            left, roof = xs[last], ys[last]
            last += 1
        added += ((xs[last] if last < len(xs) else self._right) - left) * (roof - y)
        first -= first > 0 and xs[first - 1] == x
        xs[first:last], ys[first:last] = [x], [y]
        return added


def front_of(state: StudyState, among: Sequence[int] | None = None) -> dict[str, Any]:
    """What `front.json` holds: objectives, the plans of the front, and its hypervolume as the search went on.

    Of all candidates that are done, or of those `among` them that are given, in the order asked.
    The reference is the worst value of each objective that any plan had, so that volumes of one study compare.
    """
    objectives = state.settings["objectives"]
    if among is None:
        among = [candidate.id for candidate in state.by_id.values() if candidate.state == "done"]
    done = list(among)
    points = np.array([state.point(id) for id in done]).reshape(len(done), len(objectives))
    reference = points.max(0) if len(points) else np.zeros(len(objectives))
    keys = ("id", "accuracy", "images", "costs", "plan", "genes", "role", "point")
    return {
        "objectives": objectives,
        "reference": reference.tolist(),
        "hypervolume": _growth(done, points, reference),
        "plans": [{key: row[key] for key in keys} for row in state.front(done)],
    }


def _growth(ids: Sequence[int], points: FloatArray, reference: FloatArray) -> list[Mapping[str, float]]:
    """The hypervolume after candidates that came onto the front, in the order asked: all of them, or evenly chosen ones."""
    found: list[Mapping[str, float]] = []
    front, volume = points[:0], 0.0
    for id, point in zip(ids, points, strict=True):
        if (front <= point).all(1).any():
            continue
        # What it adds is its own box without what the front covers of that.
        volume += max(0.0, float(np.prod(reference - point)) - hypervolume(np.maximum(front, point), reference))
        front = np.vstack([front[~(point <= front).all(1)], point])
        found.append({"id": id, "volume": volume})
    chosen = np.linspace(0, len(found) - 1, min(len(found), MOST_PLACES)).round().astype(np.int64)
    return [found[place] for place in chosen]
