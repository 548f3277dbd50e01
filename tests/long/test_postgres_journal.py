"""A journal in PostgreSQL when the connection breaks, the server goes, or the user may not: `make system-deps` installs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from pqsearch.errors import UserError
from pqsearch.journal import postgres as module
from pqsearch.journal.place import DatabasePlace
from pqsearch.journal.postgres import PostgresJournal
from pqsearch.journal.record import StaleEpoch
from tests.long.proxy import Proxy
from tests.postgres import PASSWORD, QUOTED, Server, server
from tests.waiting import until

pytestmark = pytest.mark.long

CLOCK = count(1).__next__
MARKER = b"marked"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture
def wire(postgres: Server) -> Iterator[Proxy]:
    with Proxy(postgres.port) as proxy:
        proxy.marker = MARKER
        yield proxy


def _open(postgres: Server, port: int | None = None) -> tuple[PostgresJournal, DatabasePlace]:
    """A new study with one event, open through `port`, and where it is without that."""
    study = DatabasePlace(postgres.url(), None).begin("broken")
    url = postgres.url().replace(str(postgres.port), str(port or postgres.port))
    journal, _, _ = PostgresJournal.open(url, study, CLOCK)
    journal.append([{"type": "first"}])
    return journal, DatabasePlace(postgres.url(), study)


def _marked(number: int = 2) -> list[dict[str, Any]]:
    return [{"type": MARKER.decode(), "value": value} for value in range(number)]


def _types(place: DatabasePlace) -> list[str]:
    return [event["type"] for event in place.read_events()]


def test_a_group_that_never_arrived_is_written_over_a_new_connection(postgres: Server, wire: Proxy) -> None:
    journal, place = _open(postgres, wire.port)
    wire.hook = lambda send: None
    events = journal.append(_marked())
    assert wire.hook is None  # the wire was cut
    assert place.read_events()[1:] == events
    journal.append([{"type": "after"}])
    assert _types(place) == ["first", "marked", "marked", "after"]
    journal.close()


def test_a_group_whose_answer_was_lost_is_not_written_twice(postgres: Server, wire: Proxy) -> None:
    journal, place = _open(postgres, wire.port)

    def commit_and_say_nothing(send: Callable[[], None]) -> None:
        send()
        until(lambda: len(_types(place)) == 3)

    wire.hook = commit_and_say_nothing
    events = journal.append(_marked())
    assert wire.hook is None
    assert place.read_events()[1:] == events
    journal.append([{"type": "after"}])
    assert _types(place) == ["first", "marked", "marked", "after"]
    journal.close()


def test_a_group_that_arrives_after_it_was_written_again_changes_nothing(postgres: Server, wire: Proxy) -> None:
    journal, place = _open(postgres, wire.port)
    late: list[Callable[[], None]] = []
    wire.hook = late.append
    journal.append(_marked())
    assert len(_types(place)) == 3
    (send,) = late
    send()
    time.sleep(0.5)
    assert _types(place) == ["first", "marked", "marked"]
    journal.append([{"type": "after"}])
    assert _types(place) == ["first", "marked", "marked", "after"]
    journal.close()


def test_who_was_cut_off_while_another_opened_may_not_write(postgres: Server, wire: Proxy) -> None:
    journal, place = _open(postgres, wire.port)
    others: list[Any] = []

    def another_opens(send: Callable[[], None]) -> None:
        wire.refuse = True
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        others.append(place.open(CLOCK)[0])
        wire.refuse = False

    wire.hook = another_opens
    with pytest.raises(StaleEpoch, match="another process has opened it"):
        journal.append(_marked())
    assert _types(place) == ["first"]
    others[0].append([{"type": "other"}])
    others[0].close()
    journal.close()


def test_a_server_that_crashes_and_comes_back_is_waited_for(postgres: Server) -> None:
    journal, place = _open(postgres)
    postgres.stop(signal.SIGQUIT)
    back = threading.Timer(1.0, postgres.start)
    back.start()
    events = journal.append(_marked())
    back.join()
    assert place.read_events()[1:] == events
    # The lock is held again, too.
    with pytest.raises(UserError, match="in use by process"):
        place.open(CLOCK, wait_seconds=0.3)
    journal.close()


def test_a_server_that_stays_away_is_one_line_and_what_it_got_in_time_is_there(
    postgres: Server, wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 1.0)
    journal, place = _open(postgres, wire.port)

    def commit_and_go(send: Callable[[], None]) -> None:
        send()
        until(lambda: len(_types(place)) == 3)
        wire.refuse = True

    wire.hook = commit_and_go
    with pytest.raises(UserError, match=r"the connection is lost .* the same command continues") as caught:
        journal.append(_marked())
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    wire.refuse = False
    # It cannot know what became of that group: it may not go on as if it were not there.
    with pytest.raises(UserError, match="the same command continues with them"):
        journal.append([{"type": "after"}])
    journal.close()
    wire.cut()
    until(lambda: not postgres.run("SELECT FROM pg_locks WHERE locktype = 'advisory'"))
    again, events, _ = place.open(CLOCK)
    assert [event["type"] for event in events] == ["first", "marked", "marked"]
    again.close()


def test_a_statement_that_the_server_refuses_leaves_nothing_and_the_next_one_goes_on(postgres: Server) -> None:
    journal, place = _open(postgres)
    postgres.run("ALTER TABLE pqsearch_events ADD CONSTRAINT small CHECK (length(body) < 1000)")
    try:
        with pytest.raises(UserError, match=r"cannot be written .* then the same command continues"):
            journal.append([{"type": "note"}, {"type": "note", "value": "x" * 1000}])
    finally:
        postgres.run("ALTER TABLE pqsearch_events DROP CONSTRAINT small")
    assert _types(place) == ["first"]
    journal.append([{"type": "after"}])
    assert _types(place) == ["first", "after"]
    journal.close()


def test_two_studies_of_one_name_in_one_database_do_not_mix(postgres: Server) -> None:
    (one, first), (two, second) = _open(postgres), _open(postgres)
    one.append([{"type": "one"}])
    two.append([{"type": "two"}])
    assert (_types(first), _types(second)) == (["first", "one"], ["first", "two"])
    one.close()
    two.close()


def test_an_event_missing_at_the_end_is_damage_too(postgres: Server) -> None:
    journal, place = _open(postgres)
    journal.append([{"type": "second"}])
    journal.close()
    postgres.run("DELETE FROM pqsearch_events WHERE study = %s AND seq = 1", place.study)
    with pytest.raises(UserError, match="event 2 is damaged or missing"):
        place.open(CLOCK)


def test_a_database_without_the_study_that_a_run_began_is_no_reason_to_begin_anew(postgres: Server) -> None:
    for use in (
        lambda place: place.begin("x"), lambda place: place.open(CLOCK), lambda place: place.read_events(),
    ):  # fmt: skip
        with pytest.raises(UserError, match="holds no study gone-0, which this run began; name the database that does"):
            use(DatabasePlace(postgres.url(), "gone-0"))


def _as_user(postgres: Server, name: str, *grants: str) -> str:
    postgres.run(f"CREATE ROLE {name} LOGIN PASSWORD 'secret-{name}'")
    for grant in grants:
        postgres.run(f"GRANT {grant} TO {name}")
    return postgres.url(user=name, password=f"secret-{name}")


def test_what_is_wrong_with_the_address_the_server_or_the_rights_is_one_line_without_a_password(
    postgres: Server,
) -> None:
    _open(postgres)[0].close()  # the tables are there
    reader = _as_user(postgres, "reader", "SELECT ON pqsearch_studies, pqsearch_events")
    nobody = _as_user(postgres, "nobody_at_all")
    postgres.run("CREATE DATABASE empty")
    postgres.run("CREATE DATABASE frozen")
    postgres.run("ALTER DATABASE frozen SET default_transaction_read_only = on")
    cases = {
        "wrong password": (postgres.url(password="wrong-word"), "password authentication failed"),
        "no such database": (postgres.url(database="nowhere"), '"nowhere" does not exist'),
        "nobody listens": (postgres.url().replace(str(postgres.port), "9"), "Connection refused"),
        "no such host": (f"postgresql://searcher:{QUOTED}@host.invalid/x", "host.invalid"),
        "odd port": (f"postgresql://searcher:{QUOTED}@localhost:port/x", "localhost"),
        "odd option": (postgres.url() + "?colour=blue", "cannot be read as an address"),
        "may only read": (reader, "not all this user's to write; ask for the rights that docs/journal.md lists"),
        "may nothing": (nobody, "ask for the rights"),
        "may not make tables": (nobody.replace("/postgres", "/empty"), "permission denied for schema public"),
        "read only": (postgres.url(database="frozen"), "read-only transaction"),
    }
    for name, (url, words) in cases.items():
        with pytest.raises(UserError) as caught:
            DatabasePlace(url, None).begin("x")
        text = str(caught.value)
        assert words in text, (name, text)
        assert text.startswith("study.storage: ") and "\n" not in text, (name, text)
        for secret in (PASSWORD, QUOTED, "wrong-word", "secret-"):
            assert secret not in text, (name, text)


def test_two_that_begin_in_an_empty_database_at_once_both_do(postgres: Server) -> None:
    postgres.run("CREATE DATABASE fresh")
    place = DatabasePlace(postgres.url(database="fresh"), None)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(place.begin("both"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4


def test_nothing_committed_is_lost_to_kill_9(postgres: Server) -> None:
    place = DatabasePlace(postgres.url(), DatabasePlace(postgres.url(), None).begin("killed"))
    code = (
        "import sys, time\nfrom pqsearch.journal.place import DatabasePlace\n"
        "journal, _, _ = DatabasePlace(*sys.argv[1:]).open(time.time)\n"
        "for value in range(10**6):\n"
        "    journal.append([{'type': 'note', 'value': value}, {'type': 'note', 'value': value}])\n"
        "    print(value, flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, place.url, str(place.study)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 50:
            break
    os.kill(writer.pid, signal.SIGKILL)
    seen = max([50, *(int(line) for line in writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait()
    journal, events, _ = place.open(CLOCK)
    journal.close()
    values = [event["value"] for event in events]
    assert values[: 2 * seen + 2] == [value for value in range(seen + 1) for _ in range(2)]
    assert len(values) % 2 == 0  # a group is there or not


def test_looking_on_reads_each_event_once_while_another_holds_the_study(postgres: Server) -> None:
    journal, place = _open(postgres)
    follower = place.tail()
    assert [event["type"] for event in follower.read().events] == ["first"]
    written = journal.append(_marked())
    assert follower.read().events == written
    assert follower.read().events == []


def test_looking_on_at_a_server_that_is_gone_is_one_line_and_passes(postgres: Server) -> None:
    journal, place = _open(postgres)
    follower = place.tail()
    follower.read()
    journal.close()
    postgres.stop()
    with pytest.raises(UserError) as error:
        follower.read()
    assert len(error.value.problems) == 1 and PASSWORD not in str(error.value)
    postgres.start()
    assert follower.read().events == []
