"""Which seat holds which task, and which tasks wait, in the order in which they are handed out."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush

from pqsearch.study_fold import Fold, Key, Task


class Leases:
    """Hands a study's open tasks out, each to one seat: probes first, then candidates, oldest first.

    A task that may have taken a worker down is handed out alone, so that the next death, if there is one, is its own.
    """

    def __init__(self, state: Fold) -> None:
        self._state = state
        self._waiting: list[tuple[bool, int, int, Key]] = []
        self._holders: dict[Key, str] = {}
        self._held: dict[str, dict[Key, None]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def hand(self, seat: str, number: int, holding: Collection[Key] = (), more: bool = True) -> list[Key]:
        """Up to `number` tasks for a seat that knows of those it is `holding`: first what it was handed and does not know
        of, then, if there may be `more`, others. What it holds without having been handed it here, because the study has begun
        anew meanwhile, is its own.
        """
        for key in holding:
            if key in self._state.open and key not in self._holders:
                self._give(seat, key)
        mine = self._held.get(seat, {})
        found = [key for key in mine if key not in holding][:number]
        while more and len(found) < number and self.free_for(seat):
            task = self._next(alone=bool(mine))
            if task is None:
                break
            key = task.id, task.repeat
            mine = self._give(seat, key)
            found.append(key)
        return found

    def _give(self, seat: str, key: Key) -> dict[Key, None]:
        """All that a seat holds with one more."""
        self._holders[key] = seat
        mine = self._held.setdefault(seat, {})
        mine[key] = None
        return mine

    def free_for(self, seat: str) -> bool:
        """Whether a seat may be given something: not while it holds what may take it down."""
        held = self._held.get(seat)
        return not held or not any(self._state.tasks[key].suspect for key in held)

    def waits(self) -> bool:
        """Whether any task waits for a seat."""
        return self._first() is not None

    def end(self, key: Key) -> None:
        """A task is over, or stays on its rung: nobody holds it any more."""
        holder = self._holders.pop(key, None)
        if holder is not None:
            del self._held[holder][key]

    def give_back(self, seat: str) -> list[Key]:
        """All that a seat holds waits again."""
        keys = list(self._held.pop(seat, {}))
        for key in keys:
            del self._holders[key]
            self._wait(key)
        return keys

    def _next(self, alone: bool) -> Task | None:
        """The first task that waits, taken out; `alone` says that its seat holds others, so that it may not be a suspect."""
        first = self._first()
        if first is None:
            return None
        suspects = []
        while first is not None and alone and first.suspect:
            suspects.append(heappop(self._waiting))
            first = self._first()
        if first is not None:
            heappop(self._waiting)
        for entry in suspects:
            heappush(self._waiting, entry)
        return first

    def _first(self) -> Task | None:
        while self._state.opened_tasks:
            self._wait(self._state.opened_tasks.pop())
        while self._waiting:
            key = self._waiting[0][-1]
            task = self._state.open.get(key)
            if task is not None and key not in self._holders:
                return task
            heappop(self._waiting)
        return None

    def _wait(self, key: Key) -> None:
        id, repeat = key
        heappush(self._waiting, (id >= 0, abs(id), repeat, key))
