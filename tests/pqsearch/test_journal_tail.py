"""Looking on at a journal: what is new comes once, whatever happens to the file meanwhile."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from pqsearch.errors import UserError
from pqsearch.journal import tail
from pqsearch.journal.file import Journal
from pqsearch.journal.place import FilePlace

CLOCK = count(1).__next__


def _journal(path: Path, *kinds: str) -> Journal:
    journal, _, _ = Journal.open(path, CLOCK)
    journal.append([{"type": kind} for kind in kinds])
    return journal


def _types(news: tail.News) -> list[str]:
    return [event["type"] for event in news.events]


def test_each_event_is_read_once_and_in_order(tmp_path: Path) -> None:
    follower = FilePlace(tmp_path / "j").tail()
    journal = _journal(tmp_path / "j", "a", "b")
    assert _types(follower.read()) == ["a", "b"]
    assert _types(follower.read()) == []
    journal.append([{"type": "c"}])
    journal.append([{"type": "d"}])
    news = follower.read()
    assert (_types(news), news.anew) == (["c", "d"], False)


def test_a_torn_last_line_is_left_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _journal(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    follower = FilePlace(path).tail()
    assert _types(follower.read()) == ["a"]
    assert _types(follower.read()) == []
    path.write_bytes(whole)
    assert _types(follower.read()) == ["b"]


def test_a_long_journal_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MOST_LINES", 3)
    _journal(tmp_path / "j", *"abcdefg")
    follower, found = FilePlace(tmp_path / "j").tail(), []
    while news := _types(follower.read()):
        found.append("".join(news))
    assert "".join(found) == "abcdefg" and len(found) > 2


def test_a_journal_that_another_one_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _journal(path, "a", "b", "c")
    follower = FilePlace(path).tail()
    follower.read()
    _journal(tmp_path / "other", "x", "y", "z", "more").close()
    (tmp_path / "other").replace(path)
    news = follower.read()
    assert (_types(news), news.anew) == (["x", "y", "z", "more"], True)


def test_events_that_their_writer_took_back_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = _journal(path, "a")
    size = path.stat().st_size
    journal.append([{"type": "b"}])
    follower = FilePlace(path).tail()
    follower.read()
    with path.open("r+b") as file:
        file.truncate(size)
    news = follower.read()
    assert (_types(news), news.anew) == (["a"], True)


def test_damage_behind_what_was_read_is_an_error_that_names_the_event(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = _journal(path, "a", "b")
    follower = FilePlace(path).tail()
    follower.read()
    journal.append([{"type": "c"}])
    path.write_bytes(path.read_bytes().replace(b'"type":"c"', b'"type":"X"'))
    with pytest.raises(UserError, match="event 3 is damaged; `pqsearch repair RUN_DIR`"):
        for _ in range(3):
            follower.read()


def test_a_journal_that_is_gone_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        FilePlace(tmp_path / "j").tail().read()
