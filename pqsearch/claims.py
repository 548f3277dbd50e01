"""Whose the tasks are that were out when the process of a study died, while its workers went on and another process began."""

from __future__ import annotations

from collections.abc import Iterable

from pqsearch.study_fold import Key


class Claims:
    """Keeps tasks that a worker may be at back from all others, until everybody has said what they hold or is gone.

    Whoever speaks may do so before it is known who has to.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, None] = {}
        self._said: set[str] = set()
        self._awaited: set[str] | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def keep(self, keys: Iterable[Key]) -> None:
        """These may be somebody's."""
        self._kept |= dict.fromkeys(keys)

    def take(self, key: Key) -> None:
        """This one is known to be somebody's, or over."""
        self._kept.pop(key, None)

    def said(self, seat: str) -> list[Key]:
        """A seat has said what it holds, or holds nothing any more: what now is nobody's."""
        if self._kept:
            self._said.add(seat)
        return self._free()

    def expect(self, seats: Iterable[str]) -> list[Key]:
        """Who may hold any of what is kept: what now is nobody's."""
        self._awaited = set(seats)
        return self._free()

    def _free(self) -> list[Key]:
        if self._awaited is None or not self._awaited <= self._said:
            return []
        freed, self._kept = list(self._kept), {}
        return freed
