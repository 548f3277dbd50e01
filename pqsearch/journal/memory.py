"""A journal that keeps nothing: for simulations, where nothing was paid for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pqsearch.journal.record import Event, stamp


class MemoryJournal:
    """Stamps events as the file does, and forgets them."""

    where = "memory"

    def __init__(self, clock: Callable[[], float]) -> None:
        self.epoch = 1
        self._clock, self._seq = clock, 0

    def append(self, events: Sequence[Event]) -> list[Event]:
        stamped = stamp(events, self._seq, self.epoch, self._clock())
        self._seq += len(stamped)
        return stamped

    def close(self) -> None:
        """There is nothing to give back."""
