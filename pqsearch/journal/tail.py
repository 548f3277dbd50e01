"""Looking on while someone else writes a journal: what is new is read and nothing twice, without a lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from pqsearch.errors import UserError
from pqsearch.journal.record import Event, parse

#: Lines held at once: a journal may be larger than the memory that looking on deserves.
MOST_LINES = 20_000


class Rest(Protocol):
    """What a journal holds from a place on. As a text it names the journal."""

    def lines(self, seq: int, offset: int) -> Sequence[bytes]:
        """At most `MOST_LINES` of its lines from event number `seq` on, which begins at byte `offset` where the journal is a file.

        Empty where there is no such event. Raises `UserError` for a journal that cannot be read.
        """


@dataclass(frozen=True)
class FileRest:
    """The rest of a file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def lines(self, seq: int, offset: int) -> list[bytes]:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return list(islice(file, MOST_LINES))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror})") from None


@dataclass(frozen=True)
class News:
    """Events that were added. `anew` says that they are all there are: what was read before is no longer the journal."""

    events: list[Event]
    anew: bool = False


class Tail:
    """Reads a journal from its first event on, and then what is added to it.

    The last line read is read again each time: where it is another one, as after a repair, the journal is read anew.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._last = b""
        self._seq = 0  # the next event's
        self._offset = 0  # of the last line read
        self._doubted: int | None = None  # an event that was damaged when it was last looked at

    def read(self) -> News:
        """The next events, `MOST_LINES` at most: none once all are read. A torn last line is left for the next time.

        Raises `UserError` for a journal that is damaged or cannot be read.
        """
        lines = self._rest.lines(max(0, self._seq - 1), self._offset)
        if self._seq and lines[:1] != [self._last]:
            return self._begin_again()
        lines = lines[self._seq > 0 :]
        found = parse(lines, self._seq)
        if found.damaged is None:
            return self._took(lines[: len(found.events)], found.events)
        if found.damaged == self._doubted or not self._seq:
            raise UserError(
                f"{self._rest}: event {found.damaged} is damaged; `pqsearch repair RUN_DIR` saves what stands before it"
            )
        # A group that its writer took back may have been read, and another one stand there now.
        self._doubted = found.damaged
        return self._begin_again()

    def _begin_again(self) -> News:
        self._last, self._seq, self._offset = b"", 0, 0
        return News(self.read().events, anew=True)

    def _took(self, lines: Sequence[bytes], events: list[Event]) -> News:
        if lines:
            self._offset += len(self._last) + sum(map(len, lines[:-1]))
            self._last = lines[-1]
            self._seq += len(lines)
        return News(events)
