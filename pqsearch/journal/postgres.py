"""A journal in a PostgreSQL database: the lines of the file as rows, for machines that share no disk.

A group of events is one statement, which the server commits before `append` returns. Who may write is decided there too, by
epoch: each opening counts it up, and a group of an older one, or one that does not follow upon the last event, is not taken.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.journal.database import (
    POLL_SECONDS,
    Connection,
    connect,
    connected,
    lock,
    make_tables,
    said,
    try_lock,
    words,
)
from pqsearch.journal.lock import this_process
from pqsearch.journal.record import Event, Parsed, StaleEpoch, body_and_crc, line, parse, stamp
from pqsearch.journal.tail import MOST_LINES

#: Classes of errors that end a connection: its own, and the server shutting down.
_LOST = ("08", "57P")
#: How long a server that went away is waited for.
RECONNECT_SECONDS = 30.0
_OPEN = "UPDATE pqsearch_studies SET epoch = epoch + 1, holder = %s WHERE study = %s RETURNING epoch"
_APPEND = """
WITH turn AS (
    UPDATE pqsearch_studies SET events = events + %(number)s
    WHERE study = %(study)s AND epoch = %(epoch)s AND events = %(seq)s
    RETURNING study
)
INSERT INTO pqsearch_events (study, seq, epoch, time, body, crc)
SELECT turn.study, %(seq)s + fresh.place - 1, %(epoch)s, %(time)s, fresh.body, fresh.crc
FROM turn, unnest(%(bodies)s::text[], %(crcs)s::text[]) WITH ORDINALITY AS fresh (body, crc, place)
"""
_EVENTS = "SELECT body, crc FROM pqsearch_events WHERE study = %s ORDER BY seq"
_REST = "SELECT body, crc FROM pqsearch_events WHERE study = %s AND seq >= %s ORDER BY seq LIMIT %s"
_SINCE = "SELECT epoch, crc FROM pqsearch_events WHERE study = %s AND seq >= %s ORDER BY seq LIMIT %s"


class PostgresJournal:
    """Appends events to a study in a database. Construct it with `PostgresJournal.open`."""

    def __init__(
        self, url: str, study: str, connection: Connection, seq: int, epoch: int, clock: Callable[[], float]
    ) -> None:
        self.where = _where(url, study)
        self.epoch = epoch
        self._url, self._study = url, study
        self._connection = connection
        self._locked = True
        self._seq = seq
        self._clock = clock

    @classmethod
    def open(
        cls, url: str, study: str, clock: Callable[[], float], wait_seconds: float = 10.0
    ) -> tuple[PostgresJournal, list[Event], bool]:
        """Open a study that was begun; returns its journal, its events, and False: nothing is torn in a database.

        It is this process's until `close`: another one that opens it waits, then a `UserError` names the holder. So it is said
        when the database cannot be reached, or when something in it is damaged.
        """
        with said(url), contextlib.ExitStack() as undo:
            connection = connect(url)
            undo.callback(connection.close)
            lock(connection, study, wait_seconds)
            # First of all: who had it before and lost the lock with its connection may write no more.
            row = connection.execute(_OPEN, [this_process(), study]).fetchone()
            if row is None:
                raise _missing(url, study)
            found = _whole(url, study, read(connection, url, study))
            undo.pop_all()
        return cls(url, study, connection, len(found.events), row[0], clock), found.events, False

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Commit events in one transaction; returns them with seq, epoch and time.

        Raises `StaleEpoch` if the study was opened anew since, `UserError` if the database refuses or is gone. A connection
        that is lost in between is made again, and the group is written once more only where the server has not got it.
        """
        stamped = stamp(events, self._seq, self.epoch, self._clock())
        if not stamped:
            return []
        rows = [body_and_crc(event) for event in stamped]
        try:
            committed = self._commit(stamped, rows)
        except psycopg.Error as error:
            self._must_be_lost(error)
            committed = self._once_more(stamped, rows)
        if not committed:
            self._explain()
        self._seq += len(stamped)
        return stamped

    def close(self) -> None:
        """Give the study back; all events are committed already."""
        self._connection.close()

    def _commit(self, stamped: Sequence[Event], rows: Sequence[tuple[str, str]]) -> bool:
        if not self._locked:
            self._locked = try_lock(self._connection, self._study)
        values = {
            "study": self._study,
            "epoch": self.epoch,
            "seq": self._seq,
            "number": len(rows),
            "time": stamped[0]["time"],
            "bodies": [body for body, _ in rows],
            "crcs": [crc for _, crc in rows],
        }
        return self._connection.execute(_APPEND, values).rowcount == len(rows)

    def _once_more(self, stamped: Sequence[Event], rows: Sequence[tuple[str, str]]) -> bool:
        """After a connection was lost in mid-group: whether it is committed now, by this attempt or by that one.

        The statement takes effect only upon the event that stood last before, so of the two at most one does, even where the
        server comes round to the first one late.
        """
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                if self._connection.closed:
                    self._connection = connect(self._url)
                    # Where the server has not noticed yet, our lost connection holds the lock. The epoch is what counts.
                    self._locked = try_lock(self._connection, self._study)
                return self._commit(stamped, rows) or self._has(rows)
            except psycopg.Error as error:
                self._must_be_lost(error)
                if time.monotonic() >= deadline:
                    raise UserError(
                        f"{self.where}: the connection is lost ({words(error, self._url)}); nothing acknowledged is: once the "
                        "server answers, the same command continues"
                    ) from None
                time.sleep(POLL_SECONDS)

    def _has(self, rows: Sequence[tuple[str, str]]) -> bool:
        """Whether the server has exactly this group as its last one or as one that other openings followed."""
        since = self._connection.execute(_SINCE, [self._study, self._seq, len(rows)]).fetchall()
        return since == [(self.epoch, crc) for _, crc in rows]

    def _must_be_lost(self, error: psycopg.Error) -> None:
        """With its connection alive, a statement that failed was undone: nothing of the group is there."""
        if not (self._connection.closed or (error.sqlstate or "").startswith(_LOST)):
            raise UserError(
                f"{self.where}: cannot be written ({words(error, self._url)}); mend that, then the same command continues"
            ) from None
        self._connection.close()

    def _explain(self) -> None:
        with said(self._url):
            row = self._connection.execute(
                "SELECT epoch FROM pqsearch_studies WHERE study = %s", [self._study]
            ).fetchone()
        if row is not None and row[0] == self.epoch:
            raise UserError(
                f"{self.where}: holds events that this process was not told are there, written as its connection broke; the "
                "same command continues with them"
            )
        raise StaleEpoch(f"{self.where}: another process has opened it; this one stops")


def begin(url: str, study: str | None, name: str) -> str:
    """Make sure that a study can be kept in a database; returns its key, a new one beginning with `name` if it has none yet.

    Raises `UserError` for a database that cannot be reached or written to, or that has lost the study.
    """
    with connected(url) as connection:
        make_tables(connection)
        if study is not None:
            if connection.execute("SELECT FROM pqsearch_studies WHERE study = %s", [study]).fetchone() is None:
                raise _missing(url, study)
            return study
        fresh = f"{name}-{secrets.token_hex(6)}"
        connection.execute("INSERT INTO pqsearch_studies VALUES (%s, 0, 0, '')", [fresh])
        return fresh


def read_events(url: str, study: str) -> list[Event]:
    """Events of a study that someone else may be writing: without its lock."""
    with connected(url) as connection:
        return _whole(url, study, read(connection, url, study)).events


def read(connection: Connection, url: str, study: str) -> Parsed:
    """What a study holds, whole or not, at one moment."""
    with connection.transaction():
        row = connection.execute("SELECT events FROM pqsearch_studies WHERE study = %s", [study]).fetchone()
        if row is None:
            raise _missing(url, study)
        with contextlib.closing(lines(connection, study)) as kept:
            found = parse(kept)
    if found.damaged is None and len(found.events) != row[0]:
        return Parsed(found.events, found.size, damaged=len(found.events) + 1)
    return found


@dataclass(frozen=True)
class DatabaseRest:
    """What a study in a database has behind an event, for `pqsearch.journal.tail`. A connection for each look."""

    url: str
    study: str

    def __str__(self) -> str:
        return _where(self.url, self.study)

    def lines(self, seq: int, offset: int) -> list[bytes]:
        """At most `MOST_LINES` from event `seq` on. Raises `UserError` for a database that cannot be reached."""
        with connected(self.url) as connection:
            return [line(body, crc) for body, crc in connection.execute(_REST, [self.study, seq, MOST_LINES])]


def lines(connection: Connection, study: str) -> Generator[bytes]:
    """A study's events as the lines of a file."""
    with connection.transaction(), connection.cursor(name="pqsearch_lines") as cursor:
        cursor.itersize = 1000
        cursor.execute(_EVENTS, [study])
        for body, crc in cursor:
            yield line(body, crc)


@contextmanager
def held(url: str, study: str, wait_seconds: float = 10.0) -> Iterator[DamagedStudy]:
    """A study with its lock taken, whole or not."""
    with connected(url) as connection:
        lock(connection, study, wait_seconds)
        yield DamagedStudy(connection, url, study)


class DamagedStudy:
    """A study in a database that is held to be mended."""

    def __init__(self, connection: Connection, url: str, study: str) -> None:
        self._connection, self._url, self._study = connection, url, study

    def read(self) -> Parsed:
        return read(self._connection, self._url, self._study)

    def lines(self) -> contextlib.AbstractContextManager[Iterator[bytes]]:
        return contextlib.closing(lines(self._connection, self._study))

    def set_aside(self, keep: int) -> str:
        """Leave only the first `keep` events in the study; all of it stays under the key returned."""
        study, run = self._study, self._connection.execute
        with self._connection.transaction():
            known = run(
                "SELECT study FROM pqsearch_studies WHERE starts_with(study, %s)", [f"{study}-damaged-"]
            ).fetchall()
            aside = f"{study}-damaged-{len(known) + 1}"
            run(
                "INSERT INTO pqsearch_studies SELECT %s, epoch, events, holder FROM pqsearch_studies WHERE study = %s",
                [aside, study],
            )
            run("UPDATE pqsearch_events SET study = %s WHERE study = %s", [aside, study])
            run(
                "INSERT INTO pqsearch_events SELECT %s, seq, epoch, time, body, crc FROM pqsearch_events "
                "WHERE study = %s ORDER BY seq LIMIT %s",
                [study, aside, keep],
            )
            run("UPDATE pqsearch_studies SET epoch = epoch + 1, events = %s WHERE study = %s", [keep, study])
        return f"study {aside}"


def _whole(url: str, study: str, found: Parsed) -> Parsed:
    if found.damaged is None:
        return found
    raise UserError(
        f"{_where(url, study)}: event {found.damaged} is damaged or missing; `pqsearch repair RUN_DIR` saves what stands "
        "before it, or restore the database from a backup"
    )


def _missing(url: str, study: str) -> UserError:
    return UserError(
        f"study.storage: {hide_passwords(url)} holds no study {study}, which this run began; name the database that does, "
        "or use another study.run_dir"
    )


def _where(url: str, study: str) -> str:
    return f"{hide_passwords(url)}, study {study}"
