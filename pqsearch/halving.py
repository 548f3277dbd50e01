"""Asynchronous successive halving: who goes on to the next rung (Li et al., A System for Massively Parallel Hyperparameter
Tuning, MLSys 2020).

The stopping kind decides as a candidate reaches a rung: it goes on at once, with its weights, if it is among the best
1/`factor` of the last `window` there, or stops for good. A window, because a search gets better: among all that were ever
measured, hardly anybody new would be stopped. The promotion kind lets everybody pause and sends on, whenever a worker is free,
the best that is among the best 1/`factor` of all at its rung.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

import numpy as np

from pqsearch.algorithms._fronts import fronts
from pqsearch.journal.record import Event
from pqsearch.settings import Settings
from pqsearch.study_fold import Fold, Key, Point, Task


def goes_on(before: Sequence[Point], mine: Point, factor: float, window: int) -> bool:
    """Whether values `mine` are good enough, after those `before` it at the same rung, oldest first.

    Several objectives are ranked by front, then by the score.
    """
    compared = [*before[max(0, len(before) - window + 1) :], mine]
    places = fronts(np.array(compared)) if len(mine) > 1 else np.zeros(len(compared), dtype=np.int64)
    ranks = [(int(place), point[0]) for place, point in zip(places, compared, strict=True)]
    return sum(rank < ranks[-1] for rank in ranks) < most(len(ranks), factor)


def most(number: int, factor: float) -> int:
    """How many of `number` go on: at least one."""
    return max(1, int(number / factor))


class Ladder:
    """For the promotion kind: everybody who reached a rung, in order. Follows a study's `rungs`, which only grow."""

    def __init__(self) -> None:
        self._ranked: dict[int, list[tuple[float, int]]] = {}
        self._waiting: dict[int, list[tuple[float, int]]] = {}

    def next(
        self, rungs: Mapping[int, Sequence[tuple[Point, int]]], paused: Mapping[Key, Task], factor: float
    ) -> int | None:
        """The paused candidate that goes on, highest rung first; None where nobody is good enough."""
        for rung in sorted(rungs, reverse=True):
            ranked, waiting = self._ranked.setdefault(rung, []), self._waiting.setdefault(rung, [])
            for point, id in rungs[rung][len(ranked) :]:
                insort(ranked, (point[0], id))
                heappush(waiting, (point[0], id))
            while waiting and not self._waits(paused.get((waiting[0][1], 0)), rung):
                heappop(waiting)
            last = int(len(ranked) / factor)
            if last and waiting and waiting[0] <= ranked[last - 1]:
                return waiting[0][1]
        return None

    @staticmethod
    def _waits(task: Task | None, rung: int) -> bool:
        return task is not None and task.rung == rung + 1


def best_of_generation(members: Mapping[int, Sequence[tuple[Point, int]]], factor: float) -> list[int]:
    """Who of a generation goes on, from what its members that pause reached: rung, then values and candidates there."""
    rung = min(members)
    ranked = sorted(members[rung])
    return [id for _, id in ranked[: most(len(ranked), factor)]]


class Halving:
    """What becomes of the candidates of a study on their rungs, as events for its journal."""

    def __init__(self, settings: Settings, state: Fold) -> None:
        self._settings, self._state = settings, state
        self._ladder = Ladder()

    def then(self, event: Event, before: list[Point]) -> dict[str, str]:
        """Whether the candidate of a `reported` event stops or pauses there; `before` are values that are not folded in yet."""
        halving, candidate = self._settings.halving, self._state.by_id[event["id"]]
        if halving is None:
            return {}
        mine = self._state.values(candidate, event)
        before.append(mine)
        if candidate.role is not None:
            return {}  # what the search is compared with has to be known to the end
        if halving["kind"] == "promotion" or self._settings.generation is not None:
            return {"then": "pauses"}
        window = int(halving["window"])
        known = [point for point, _ in self._state.rungs.get(event["rung"], [])[-window:]]
        return {} if goes_on([*known, *before[:-1]], mine, halving["factor"], window) else {"then": "stops"}

    def next_up(self) -> Event | None:
        """The promotion of the paused candidate that goes on next, None where there is none."""
        halving, state = self._settings.halving, self._state
        if halving is None or self._settings.generation is not None or state.stopped == "hours":
            return None
        id = self._ladder.next(state.rungs, state.paused, halving["factor"])
        return None if id is None else {"type": "promoted", "ids": [id], "left": []}

    def at_barrier(self) -> Event:
        """Of a generation that has nobody at work the best of those that paused go on, or it is over."""
        halving, state = self._settings.halving, self._state
        if halving is None or not state.paused:
            return {"type": "generation"}
        members: dict[int, list[tuple[Point, int]]] = {}
        for task in state.paused.values():
            point = next(point for point, id in reversed(state.rungs[task.rung - 1]) if id == task.id)
            members.setdefault(task.rung - 1, []).append((point, task.id))
        best = best_of_generation(members, halving["factor"])
        return {"type": "promoted", "ids": best, "left": [id for _, id in members[min(members)] if id not in best]}
