"""Which seat holds which task, and which tasks wait, in the order in which they are handed out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heappop, heappush

from pqsearch.claims import Claims
from pqsearch.study_fold import Fold, Key, Task


class Leases:
    """Hands a study's open tasks out, each to one seat: probes first, then candidates, oldest first.

    A task that may have taken a worker down is handed out alone, so that the next death, if there is one, is its own. One that
    found its share of a GPU too small gets the whole of one: nobody who shares it is given anything until that task is over.
    """

    def __init__(self, state: Fold) -> None:
        self._state = state
        self._waiting: list[tuple[bool, int, int, Key]] = []
        self._holders: dict[Key, str] = {}
        self._held: dict[str, dict[Key, None]] = {}
        self._shares: dict[str, str] = {}  # by seat, the GPU that it shares with others
        self._kept: dict[str, Key] = {}  # GPUs that are kept free for a task, or have been given to it
        self._claims = Claims()

    def __len__(self) -> int:
        """Tasks that a seat holds, or may hold."""
        return len(self._holders) + len(self._claims)

    @property
    def busy(self) -> int:
        """Seats that hold something."""
        return sum(map(bool, self._held.values()))

    def sit(self, seat: str, shares: str | None) -> None:
        """Somebody sits at a seat, and `shares` that GPU with all others who say so."""
        if shares is not None:
            self._shares[seat] = shares

    def keep(self) -> None:
        """The study has begun anew among workers that go on: whatever is open may be with one of them."""
        self._claims.keep(self._state.open)

    def expect(self, seats: Iterable[str]) -> None:
        """All who may hold what is kept: once each of them has claimed, or given back, the rest goes to anybody."""
        self._free(self._claims.expect(seats))

    def claim(self, seat: str, holding: Collection[Key]) -> None:
        """A seat holds these, and nothing else that it was not handed here."""
        for key in holding:
            if key in self._state.open and key not in self._holders:
                self._give(seat, key)
        self._free(self._claims.said(seat))

    def hand(self, seat: str, number: int, holding: Collection[Key] = (), more: bool = True) -> list[Key]:
        """Up to `number` tasks for a seat that knows of those it is `holding`: first what it was handed and does not know
        of, then, if there may be `more`, others. What it holds without having been handed it here it claims.
        """
        self.claim(seat, holding)
        unknown = [key for key in self._held.get(seat, ()) if key not in holding]
        for key in unknown:
            if not self._has_room(seat, key):
                self.put_back(key)  # with others at work it would be blamed for what they use
        found = [key for key in unknown if key in self._holders][:number]
        while more and len(found) < number:
            task = self._next(seat) if self.free_for(seat) else self._kept_for(seat)
            if task is None:
                break
            key = task.id, task.repeat
            self._give(seat, key)
            found.append(key)
        return found

    def _give(self, seat: str, key: Key) -> None:
        self._claims.take(key)
        self._holders[key] = seat
        self._held.setdefault(seat, {})[key] = None
        gpu = self._shares.get(seat)
        if gpu is not None and self._state.tasks[key].crowded:
            self._keep_free(gpu, key)

    def free_for(self, seat: str) -> bool:
        """Whether a seat may be given something: not while it holds what may take it down, or its GPU is another's."""
        held = self._held.get(seat)
        if held and any(self._state.tasks[key].suspect for key in held):
            return False
        return self._shares.get(seat) not in self._kept

    def waits(self) -> bool:
        """Whether any task waits for a seat."""
        return self._first() is not None

    def end(self, key: Key) -> None:
        """A task is over, or stays on its rung: nobody holds it any more."""
        self._claims.take(key)
        holder = self._holders.pop(key, None)
        if holder is not None:
            del self._held[holder][key]
        self._keep_none(key)

    def give_back(self, seat: str) -> list[Key]:
        """All that a seat holds waits again; nobody sits there."""
        keys = list(self._held.pop(seat, {}))
        for key in keys:
            self.put_back(key)
        gpu = self._shares.pop(seat, None)
        if gpu is not None and gpu not in self._shares.values():
            self._kept.pop(gpu, None)
        self._free(self._claims.said(seat))
        return keys

    def put_back(self, key: Key) -> None:
        """A task waits again."""
        self._claims.take(key)
        holder = self._holders.pop(key, None)
        if holder is not None:
            self._held.get(holder, {}).pop(key, None)
        self._wait(key)

    def _next(self, seat: str) -> Task | None:
        """The first task that waits and may be given to a seat, taken out."""
        passed, found = [], None
        while found is None and self.free_for(seat) and (first := self._first()) is not None:
            entry = heappop(self._waiting)
            if self._suits(first, seat):
                found = first
            else:
                passed.append(entry)
        for entry in passed:
            heappush(self._waiting, entry)
        return found

    def _suits(self, task: Task, seat: str) -> bool:
        """Whether a task may be given to a seat now. A GPU that one needs for itself is kept free for it from here on."""
        if task.suspect and self._held.get(seat):
            return False
        gpu, key = self._shares.get(seat), (task.id, task.repeat)
        if not task.crowded or gpu is None:
            return True
        if key not in self._kept.values():
            self._keep_free(gpu, key)
        return self._kept.get(gpu) == key and self._idle(gpu)

    def _has_room(self, seat: str, key: Key) -> bool:
        """Whether a seat may begin what it holds: with a GPU for itself, if that is what it needs."""
        gpu = self._shares.get(seat)
        return gpu is None or not self._state.tasks[key].crowded or self._idle(gpu, but=key)

    def _keep_free(self, gpu: str, key: Key) -> None:
        """From here on that GPU is kept for a task, and no other one."""
        self._keep_none(key)
        self._kept[gpu] = key

    def _keep_none(self, key: Key) -> None:
        if key in self._kept.values():
            self._kept = {gpu: kept for gpu, kept in self._kept.items() if kept != key}

    def _kept_for(self, seat: str) -> Task | None:
        """The task that a seat's GPU is kept free for, once it is free."""
        gpu = self._shares.get(seat)
        key = self._kept.get(gpu) if gpu is not None else None
        if gpu is None or key is None or key in self._holders:
            return None
        if key not in self._state.open:
            del self._kept[gpu]
            return None
        return self._state.open[key] if self._idle(gpu) else None

    def _idle(self, gpu: str, but: Key | None = None) -> bool:
        """Whether nobody is at anything there, `but` at this; unknown, that is no, until all have said what they hold."""
        held = (key for seat, shares in self._shares.items() if shares == gpu for key in self._held.get(seat, ()))
        return not self._claims and all(key == but for key in held)

    def _first(self) -> Task | None:
        while self._state.opened_tasks:
            self._wait(self._state.opened_tasks.pop())
        while self._waiting:
            key = self._waiting[0][-1]
            task = self._state.open.get(key)
            if task is not None and key not in self._holders and key not in self._claims:
                return task
            heappop(self._waiting)
        return None

    def _free(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._wait(key)

    def _wait(self, key: Key) -> None:
        id, repeat = key
        heappush(self._waiting, (id >= 0, abs(id), repeat, key))
