"""What every journal keeps to, whether it is a file or a study in a PostgreSQL database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pqsearch.errors import UserError
from pqsearch.journal.file import Journal as FileJournal
from pqsearch.journal.place import DatabasePlace, FilePlace, Journal, Place
from pqsearch.journal.record import StaleEpoch
from tests.postgres import Server, server

CLOCK = count(1).__next__
#: Opens the journal at sys.argv[1:], says so, and holds it for ever.
HOLDER = """
import sys, time
from pathlib import Path
from pqsearch.journal.place import DatabasePlace, FilePlace
place = DatabasePlace(*sys.argv[1:]) if len(sys.argv) > 2 else FilePlace(Path(sys.argv[1]))
journal, _, _ = place.open(time.time)
journal.append([{"type": "note", "value": "held"}])
print("held", flush=True)
time.sleep(600)
"""


class Files:
    """Journals in files, and what can happen to them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.jsonl"
        self.place: Place = FilePlace(self._path)
        self.arguments = [str(self._path)]

    def usurp(self, journal: Journal) -> Journal:
        """Open it anew while `journal` still believes that it may write."""
        return FileJournal.open(self._path, CLOCK)[0]

    def change(self, number: int, edit: Callable[[str], str]) -> None:
        lines = self._path.read_text().splitlines(keepends=True)
        lines[number - 1] = edit(lines[number - 1])
        self._path.write_text("".join(lines))

    def remove(self, number: int) -> None:
        self.change(number, lambda line: "")

    def content(self) -> Any:
        return self._path.read_bytes()


class Studies:
    """Journals in a database, and what can happen to them."""

    def __init__(self, running: Server) -> None:
        self._server = running
        begun = DatabasePlace(running.url(), None).begin("contract")
        self.place: Place = DatabasePlace(running.url(), begun)
        self.arguments = [running.url(), begun]
        self._study = begun

    def usurp(self, journal: Journal) -> Journal:
        """Cut the connection of `journal`, so that its lock is free, and open the study anew."""
        self._server.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        return self.place.open(CLOCK)[0]

    def change(self, number: int, edit: Callable[[str], str]) -> None:
        ((body,),) = self._server.run(
            "SELECT body FROM pqsearch_events WHERE study = %s AND seq = %s", self._study, number - 1
        )
        self._server.run(
            "UPDATE pqsearch_events SET body = %s WHERE study = %s AND seq = %s", edit(body), self._study, number - 1
        )

    def remove(self, number: int) -> None:
        self._server.run("DELETE FROM pqsearch_events WHERE study = %s AND seq = %s", self._study, number - 1)

    def content(self) -> Any:
        return self._server.run("SELECT * FROM pqsearch_events WHERE study = %s ORDER BY seq", self._study)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(params=["file", pytest.param("postgresql", marks=pytest.mark.long)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Files | Studies:
    return Files(tmp_path) if request.param == "file" else Studies(request.getfixturevalue("postgres"))


def _notes(number: int) -> list[dict[str, Any]]:
    return [{"type": "note", "value": value} for value in range(number)]


def _filled(kept: Files | Studies, number: int = 3) -> list[dict[str, Any]]:
    journal, _, _ = kept.place.open(CLOCK)
    events = journal.append(_notes(number))
    journal.close()
    return events


def test_events_read_back_equal_those_written(kept: Files | Studies) -> None:
    journal, found, torn = kept.place.open(CLOCK)
    assert (found, torn) == ([], False)
    events = journal.append(_notes(2)) + journal.append(_notes(1))
    assert kept.place.read_events() == events
    journal.close()
    assert [event["seq"] for event in events] == [0, 1, 2]
    journal, found, torn = kept.place.open(CLOCK)
    assert (found, torn) == (events, False)
    assert journal.append(_notes(1))[0]["seq"] == 3
    journal.close()


def test_each_opening_has_a_higher_epoch(kept: Files | Studies) -> None:
    epochs = []
    for _ in range(3):
        journal, _, _ = kept.place.open(CLOCK)
        epochs.append(journal.append(_notes(1))[0]["epoch"])
        journal.close()
    assert epochs == sorted(set(epochs))


def test_a_group_is_stamped_as_one_and_an_empty_one_writes_nothing(kept: Files | Studies) -> None:
    journal, _, _ = kept.place.open(CLOCK)
    assert len({(event["time"], event["epoch"]) for event in journal.append(_notes(2))}) == 1
    before = kept.content()
    assert journal.append([]) == []
    assert kept.content() == before
    journal.close()


def test_a_thousand_events_come_back_in_their_order(kept: Files | Studies) -> None:
    journal, _, _ = kept.place.open(CLOCK)
    events = journal.append(_notes(1000))
    for value in range(50):
        events += journal.append([{"type": "note", "value": -value}])
    journal.close()
    assert kept.place.read_events() == events
    assert [event["seq"] for event in events] == list(range(1050))


def test_texts_and_numbers_come_back_as_they_were(kept: Files | Studies) -> None:
    values = {
        "text": 'line one\nline two\r\n\u2028 "quoted" ,"crc":"00000000"} \x00 é \U0001f642 \ud800 \\u0041 %s',
        "numbers": [0.1 + 0.2, 1e-300, -0.0, 2**60, 1e22],
        "nothing": [None, True, {}, [], ""],
        "schlüssel": {"ß": 1},
    }
    journal, _, _ = kept.place.open(CLOCK)
    journal.append([{"type": "note", **values}])
    journal.close()
    (event,) = kept.place.read_events()
    assert {key: event[key] for key in values} == values


def test_what_is_no_number_is_not_written(kept: Files | Studies) -> None:
    journal, _, _ = kept.place.open(CLOCK)
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append([{"type": "note"}, {"type": "note", "value": float("nan")}])
    assert kept.place.read_events() == []
    assert journal.append(_notes(1))[0]["seq"] == 0
    journal.close()


def test_an_older_epoch_may_not_write(kept: Files | Studies) -> None:
    old, _, _ = kept.place.open(CLOCK)
    old.append(_notes(1))
    new = kept.usurp(old)
    new.append([{"type": "opened"}])
    for _ in range(2):
        with pytest.raises(StaleEpoch, match="this one stops"):
            old.append([{"type": "late"}])
    new.append([{"type": "after"}])
    assert [event["type"] for event in kept.place.read_events()] == ["note", "opened", "after"]
    old.close()
    new.close()


def test_a_second_opener_is_told_who_holds_it_and_nothing_changes(kept: Files | Studies) -> None:
    journal, _, _ = kept.place.open(CLOCK)
    journal.append(_notes(1))
    before = kept.content()
    with pytest.raises(UserError, match=rf"in use by process {os.getpid()} on .* since .*; wait for it or stop it"):
        kept.place.open(CLOCK, wait_seconds=0.3)
    with pytest.raises(UserError, match="in use by process"), kept.place.held(wait_seconds=0.3):
        pass
    assert kept.content() == before
    journal.append(_notes(1))
    journal.close()


def test_a_second_opener_waits_until_it_is_given_free(kept: Files | Studies) -> None:
    first, _, _ = kept.place.open(CLOCK)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(kept.place.open(CLOCK, wait_seconds=60)))
    waiting.start()
    events = first.append(_notes(2))
    assert not found
    first.close()
    waiting.join()
    second, seen, _ = found[0]
    assert seen == events
    assert second.epoch > first.epoch
    second.close()


def test_a_killed_process_gives_it_free_and_loses_nothing(kept: Files | Studies) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, *kept.arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by process {holder.pid} on"):
            kept.place.open(CLOCK, wait_seconds=0.3)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    journal, events, torn = kept.place.open(CLOCK)
    assert [event["value"] for event in events] == ["held"]
    assert not torn
    journal.close()


def test_a_changed_event_is_refused_by_its_number(kept: Files | Studies) -> None:
    _filled(kept)
    kept.change(2, lambda line: line.replace('"value":1', '"value":7'))
    before = kept.content()
    for read in (kept.place.read_events, lambda: kept.place.open(CLOCK)):
        with pytest.raises(UserError, match=r"(line|event) 2 is damaged.*pqsearch repair") as caught:
            read()
        assert len(caught.value.problems) == 1
    assert kept.content() == before
    with kept.place.held(wait_seconds=0):
        pass  # who was refused has given it back


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_event_is_damage_too(kept: Files | Studies, number: int) -> None:
    _filled(kept)
    kept.remove(number)
    with pytest.raises(UserError, match=f"{number} is damaged"):
        kept.place.open(CLOCK)


def test_what_stands_before_the_damage_can_be_read_and_put_in_its_place(kept: Files | Studies) -> None:
    events = _filled(kept, 5)
    kept.change(4, lambda line: line.replace("note", "mote"))
    with kept.place.held() as damaged:
        found = damaged.read()
        assert (found.events, found.damaged) == (events[:3], 4)
        with damaged.lines() as lines:
            assert len(list(lines)) == 5
        first = damaged.set_aside(3)
    assert kept.place.read_events() == events[:3]
    journal, seen, _ = kept.place.open(CLOCK)
    assert seen == events[:3]
    journal.append([{"type": "note", "value": "on"}])
    journal.close()
    with kept.place.held() as damaged:
        assert damaged.read().damaged is None
        assert damaged.set_aside(1) != first
    assert kept.place.read_events() == events[:1]
