"""The journal and the lock at their edges."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from pqsearch.errors import UserError
from pqsearch.journal.file import Journal, StaleEpoch, read_events
from pqsearch.journal.lock import Lock

CLOCK = count(1).__next__


def test_a_torn_first_line_leaves_an_empty_journal(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b'{"seq":0,"ep')
    journal, events, torn = Journal.open(tmp_path / "j", CLOCK)
    assert (events, torn) == ([], True)
    journal.append([{"type": "note"}])
    assert [event["seq"] for event in read_events(tmp_path / "j")] == [0]


def test_a_group_is_stamped_as_one_and_an_empty_one_writes_nothing(tmp_path: Path) -> None:
    journal, _, _ = Journal.open(tmp_path / "j", CLOCK)
    events = journal.append([{"type": "a"}, {"type": "b"}])
    assert len({event["time"] for event in events}) == 1
    size = (tmp_path / "j").stat().st_size
    assert journal.append([]) == []
    assert (tmp_path / "j").stat().st_size == size


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[:-4] + (b'1"}\n' if line[-4:-3] == b"0" else b'0"}\n'),
        lambda line: line[:-3] + b' "}\n',
        lambda line: b"\n",
        lambda line: b"[]\n",
    ],
    ids=["other checksum", "more behind the checksum", "empty", "no object"],
)
def test_a_whole_line_that_is_wrong_is_damage_even_as_the_last_one(tmp_path: Path, change) -> None:
    path = tmp_path / "j"
    journal, _, _ = Journal.open(path, CLOCK)
    journal.append([{"type": "a"}, {"type": "b"}])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + change(second))
    with pytest.raises(UserError, match="line 2 is damaged"):
        Journal.open(path, CLOCK)
    with pytest.raises(UserError, match="line 2 is damaged"):
        read_events(path)


def test_reading_does_not_mend_what_someone_else_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal, _, _ = Journal.open(path, CLOCK)
    journal.append([{"type": "a"}, {"type": "b"}])
    half = path.read_bytes()[:-4]
    path.write_bytes(half)
    assert [event["type"] for event in read_events(path)] == ["a"]
    assert path.read_bytes() == half


def test_texts_with_any_characters_come_back(tmp_path: Path) -> None:
    reason = 'line one\nline two\r\n\u2028 "quoted" ,"crc":"00000000"} \x00 é'
    journal, _, _ = Journal.open(tmp_path / "j", CLOCK)
    journal.append([{"type": "failed", "reason": reason}])
    assert read_events(tmp_path / "j")[0]["reason"] == reason


def test_an_opening_in_another_process_ends_this_ones_right_to_write(tmp_path: Path) -> None:
    journal, _, _ = Journal.open(tmp_path / "j", CLOCK)
    journal.append([{"type": "opened"}])
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pqsearch.journal.file import Journal\n"
        "journal, _, _ = Journal.open(Path(sys.argv[1]), time.time)\n"
        "print(journal.append([{'type': 'opened'}])[0]['epoch'])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "j"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == journal.epoch + 1
    with pytest.raises(StaleEpoch, match="another process has written"):
        journal.append([{"type": "late"}])
    assert [event["type"] for event in read_events(tmp_path / "j")] == ["opened", "opened"]


def test_a_journal_where_none_can_be_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "j"):
        with pytest.raises(UserError, match="cannot be opened"):
            Journal.open(path, CLOCK)
    with pytest.raises(UserError, match="cannot be read"):
        read_events(tmp_path / "missing")


def test_a_lock_is_waited_for_and_taken_when_its_holder_ends(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom pqsearch.journal.lock import Lock\n"
        "Lock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.readline()"
    )
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"in use by process {holder.pid} on .* since .*; wait for it or stop it"):
        Lock(path, wait_seconds=0).acquire()
    holder.stdin.close()
    with Lock(path, wait_seconds=30):
        holder.wait()
    holder.stdout.close()


def test_a_lock_given_back_can_be_taken_at_once(tmp_path: Path) -> None:
    for _ in range(2):
        lock = Lock(tmp_path / "lock", wait_seconds=0)
        lock.acquire()
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
        lock.release()
        lock.release()


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"), pytest.raises(UserError, match="in use by process"):
        Lock(tmp_path / "lock", wait_seconds=0).acquire()


def test_a_lock_in_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        Lock(tmp_path / "missing" / "lock").acquire()
