"""Where a study's journal is kept: a file, or a study in a database. Nobody else needs to know which."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.journal import file
from pqsearch.journal.lock import Lock
from pqsearch.journal.record import Event, Parsed
from pqsearch.journal.tail import FileRest, Tail


class Journal(Protocol):
    """A journal that is open for appending. `where` names it in messages."""

    where: str
    epoch: int

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Commit events, all or none, before anyone acts on them; returns them with seq, epoch and time."""

    def close(self) -> None:
        """Give the journal, and its lock, back."""


class Damaged(Protocol):
    """A journal that is held to be mended."""

    def read(self) -> Parsed:
        """Its events up to the first that is wrong."""

    def lines(self) -> contextlib.AbstractContextManager[Iterator[bytes]]:
        """All that it holds, line by line."""

    def set_aside(self, keep: int) -> str:
        """Leave only the first `keep` events, and all that is there now under another name; returns that name."""


class Place(Protocol):
    """Where a journal is, or will be. As a text it names it, without a password."""

    def exists(self) -> bool:
        """Whether a journal was begun here. Asks no server."""

    def begin(self, name: str) -> str | None:
        """Make sure that a journal of the study `name` can be kept here; returns what to remember of it, if anything."""

    def open(self, clock: Callable[[], float], wait_seconds: float = 10.0) -> tuple[Journal, list[Event], bool]:
        """Lock and open the journal; returns it, its events, and whether a torn last line was dropped.

        Raises `UserError` when it is damaged, cannot be reached, or is not given free within `wait_seconds`: then it names the
        holder. A process that just ended may leave helpers behind for some seconds.
        """

    def read_events(self) -> list[Event]:
        """The events, for looking at: without a lock; someone else may be writing."""

    def tail(self) -> Tail:
        """For looking on: reads what has been added since it last looked, without a lock."""

    def held(self, wait_seconds: float = 10.0) -> contextlib.AbstractContextManager[Damaged]:
        """The journal with its lock taken, whole or not."""


@dataclass(frozen=True)
class FilePlace:
    """A file, beside it its lock."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.is_file()

    def begin(self, name: str) -> None:
        return None

    def open(self, clock: Callable[[], float], wait_seconds: float = 10.0) -> tuple[Journal, list[Event], bool]:
        lock = self._lock(wait_seconds)
        lock.acquire()
        try:
            return file.Journal.open(self.path, clock, lock)
        except BaseException:
            lock.release()
            raise

    def read_events(self) -> list[Event]:
        return file.read_events(self.path)

    def tail(self) -> Tail:
        return Tail(FileRest(self.path))

    @contextmanager
    def held(self, wait_seconds: float = 10.0) -> Iterator[Damaged]:
        with self._lock(wait_seconds):
            yield file.DamagedFile(self.path)

    def _lock(self, wait_seconds: float) -> Lock:
        return Lock(self.path.with_name("journal.lock"), wait_seconds)


@dataclass(frozen=True)
class DatabasePlace:
    """A study in a PostgreSQL database, None before it is begun."""

    url: str
    study: str | None

    def __str__(self) -> str:
        return f"{hide_passwords(self.url)}, study {self.study}"

    __repr__ = __str__

    def exists(self) -> bool:
        return self.study is not None

    def begin(self, name: str) -> str:
        return _postgres().begin(self.url, self.study, name)

    def open(self, clock: Callable[[], float], wait_seconds: float = 10.0) -> tuple[Journal, list[Event], bool]:
        return _postgres().PostgresJournal.open(self.url, self._begun(), clock, wait_seconds)

    def read_events(self) -> list[Event]:
        return _postgres().read_events(self.url, self._begun())

    def tail(self) -> Tail:
        return Tail(_postgres().DatabaseRest(self.url, self._begun()))

    @contextmanager
    def held(self, wait_seconds: float = 10.0) -> Iterator[Damaged]:
        with _postgres().held(self.url, self._begun(), wait_seconds) as found:
            yield found

    def _begun(self) -> str:
        if self.study is None:
            raise UserError(
                f"study.storage: nothing is begun in {hide_passwords(self.url)} for this run; `pqsearch search` begins it"
            )
        return self.study


def _postgres() -> ModuleType:
    """Loaded where a database is named, and only there."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise UserError(
            "study.storage: a PostgreSQL database needs psycopg, which is not installed here; pip install 'pqsearch[postgres]'"
        ) from None
    from pqsearch.journal import postgres

    return postgres
