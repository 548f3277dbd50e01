"""The Pareto front of a study with several objectives, and how much it covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pqsearch.algorithms._fronts import fronts
from pqsearch.problem import FloatArray
from pqsearch.study_state import StudyState


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """The volume between points (points, objectives), all minimised, and a reference that is worse than all.

    By slices along the last objective (Knowles, 2002): exact, and quick enough for the fronts of a search.
    """
    points = points[(points < reference).all(1)]
    if not len(points):
        return 0.0
    points = points[fronts(points) == 0]
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    order = np.argsort(points[:, -1], kind="stable")
    heights = np.append(points[order, -1], reference[-1])
    return sum(
        float(heights[place + 1] - heights[place]) * hypervolume(points[order[: place + 1], :-1], reference[:-1])
        for place in range(len(order))
        if heights[place + 1] > heights[place]
    )


def front_of(state: StudyState) -> dict[str, Any]:
    """What `front.json` holds: objectives, the plans of the front, and its hypervolume as the search went on.

    The reference is the worst value of each objective that any plan had, so that volumes of one study compare.
    """
    objectives = state.settings["objectives"]
    done = [candidate.id for candidate in state.by_id.values() if candidate.state == "done"]
    points = np.array([state.point(id) for id in done]).reshape(len(done), len(objectives))
    reference = points.max(0) if len(points) else np.zeros(len(objectives))
    keys = ("id", "accuracy", "images", "costs", "plan", "genes", "role", "point")
    return {
        "objectives": objectives,
        "reference": reference.tolist(),
        "hypervolume": _growth(done, points, reference),
        "plans": [{key: row[key] for key in keys} for row in state.front()],
    }


def _growth(ids: Sequence[int], points: FloatArray, reference: FloatArray) -> list[Mapping[str, float]]:
    """The hypervolume after each candidate that enlarged it, in the order asked."""
    found: list[Mapping[str, float]] = []
    front = points[:0]
    for id, point in zip(ids, points, strict=True):
        if (front <= point).all(1).any():
            continue
        front = np.vstack([front, point])
        front = front[fronts(front) == 0]
        found.append({"id": id, "volume": hypervolume(front, reference)})
    return found
