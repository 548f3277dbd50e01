"""Connections to a PostgreSQL database of journals: made, set up, and their troubles said in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords

POLL_SECONDS = 0.2
#: Unless the address says otherwise. Both ends notice within a minute that the other is gone.
_CONNECTION = {
    "application_name": "pqsearch",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "50000",
}
_SESSION = """
SELECT set_config('tcp_keepalives_idle', '20', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false),
       set_config('default_transaction_isolation', 'read committed', false),
       -- Committed means on disk, whatever the database's own setting is.
       set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'local'
                                        ELSE current_setting('synchronous_commit') END, false)
"""
#: `events` is how many a study has; `epoch` is its last opening's, `holder` says whose that was.
_TABLES = """
CREATE TABLE IF NOT EXISTS pqsearch_studies (
    study text PRIMARY KEY,
    epoch bigint NOT NULL,
    events bigint NOT NULL,
    holder text NOT NULL
);
CREATE TABLE IF NOT EXISTS pqsearch_events (
    study text NOT NULL REFERENCES pqsearch_studies ON DELETE CASCADE,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    time double precision NOT NULL,
    body text NOT NULL,
    crc text NOT NULL,
    PRIMARY KEY (study, seq)
);
"""
_RIGHTS = """
SELECT bool_and(has_table_privilege(name, wanted))
FROM unnest(ARRAY['pqsearch_studies', 'pqsearch_events']) AS name, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS wanted
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(url: str) -> Connection:
    """A connection that commits every statement. Raises `psycopg.Error`, `UserError` for what is no address."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq quotes parts of what it cannot read, which may be those of a password.
        raise UserError(
            f"study.storage: {hide_passwords(url)} cannot be read as an address; write postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    connection = psycopg.connect(**{**_CONNECTION, **given}, autocommit=True)  # type: ignore[arg-type]
    connection.execute(_SESSION)
    # Of the transactions that we begin ourselves: what is read in several steps is of one moment.
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return connection


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection for as long as the context lasts; whatever goes wrong with it is a `UserError` of one line."""
    with said(url), connect(url) as connection:
        yield connection


@contextmanager
def said(url: str) -> Iterator[None]:
    """Turn what the driver raises into one line that names the database and the way out."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            f"study.storage: {hide_passwords(url)}: {words(error, url)}; ask for the rights that docs/journal.md lists"
        ) from None
    except psycopg.Error as error:
        raise UserError(
            f"study.storage: {hide_passwords(url)}: {words(error, url)}; check the address, the server and the password "
            "(~/.pgpass or PGPASSWORD keep it out of the spec), then the same command continues"
        ) from None


def words(error: psycopg.Error, url: str) -> str:
    """What the driver says, in one line, without the password."""
    text = hide_passwords(" ".join(str(error).split())) or type(error).__name__
    password = conninfo_to_dict(url).get("password")
    return text.replace(str(password), "***") if password else text


def make_tables(connection: Connection) -> None:
    """Make the tables where they are missing. Raises `psycopg.Error` where that, or writing into them, is not allowed."""
    (there,) = _one(
        connection, "SELECT to_regclass('pqsearch_studies') IS NOT NULL AND to_regclass('pqsearch_events') IS NOT NULL"
    )
    if not there:
        with connection.transaction():
            # Two at once would get into each other's way.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock_number("tables")])
            for statement in _TABLES.split(";\n"):
                connection.execute(statement.encode())
    (allowed,) = _one(connection, _RIGHTS)
    if not allowed:
        raise psycopg.errors.InsufficientPrivilege(
            "pqsearch_studies and pqsearch_events are not all this user's to write"
        )


def lock_number(name: str) -> int:
    """What PostgreSQL knows a lock by: 63 bits."""
    return int.from_bytes(sha256(f"pqsearch {name}".encode()).digest()[:8], "big") >> 1


def try_lock(connection: Connection, study: str) -> bool:
    """Take a study's lock for as long as the connection lasts, unless somebody has it."""
    return bool(_one(connection, "SELECT pg_try_advisory_lock(%s)", [lock_number(f"study {study}")])[0])


def lock(connection: Connection, study: str, wait_seconds: float) -> None:
    """As `try_lock`, but waits; then a `UserError` names the holder."""
    deadline = time.monotonic() + wait_seconds
    while not try_lock(connection, study):
        if time.monotonic() >= deadline:
            row = connection.execute("SELECT holder FROM pqsearch_studies WHERE study = %s", [study]).fetchone()
            holder = (row and row[0]) or "an unknown process"
            raise UserError(f"study.storage: the study {study} is in use by {holder}; wait for it or stop it")
        time.sleep(POLL_SECONDS)


def _one(connection: Connection, query: str, values: list[Any] | None = None) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return row
