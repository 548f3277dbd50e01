"""The journal on a real disk: torn, damaged, written by two, full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import optuna
import pytest

from pqsearch.errors import UserError
from pqsearch.journal.file import Journal, StaleEpoch, read_events
from pqsearch.journal.lock import Lock
from pqsearch.journal.optuna_mirror import Mirror
from tests.pqsearch.problems import Knapsack

CLOCK = count(1).__next__


def _filled(path: Path, number: int = 3) -> list[dict]:
    journal, _, _ = Journal.open(path, CLOCK)
    events = journal.append([{"type": "note", "value": value} for value in range(number)])
    journal.close()
    return events


def test_events_read_back_equal_those_written(tmp_path: Path) -> None:
    events = _filled(tmp_path / "j")
    assert read_events(tmp_path / "j") == events
    assert [event["seq"] for event in events] == [0, 1, 2]


def test_each_opening_has_a_higher_epoch(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        journal, _, _ = Journal.open(tmp_path / "j", CLOCK)
        epochs.append(journal.append([{"type": "note"}])[0]["epoch"])
        journal.close()
    assert epochs == [1, 2, 3]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_dropped_and_said(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    events = _filled(path)
    path.write_bytes(path.read_bytes()[:-cut])
    journal, found, torn = Journal.open(path, CLOCK)
    assert torn
    assert found == events[:2]
    journal.append([{"type": "after"}])
    journal.close()
    assert [event["type"] for event in read_events(path)] == ["note", "note", "after"]


def test_damage_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"value":1', b'"value":7')
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"j: line 2 is damaged"):
        Journal.open(path, CLOCK)
    assert path.read_bytes() == b"".join(lines)


def test_a_missing_line_is_damage_too(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(UserError, match="line 2 is damaged"):
        Journal.open(path, CLOCK)


def test_an_older_epoch_may_not_write(tmp_path: Path) -> None:
    old, _, _ = Journal.open(tmp_path / "j", CLOCK)
    old.append([{"type": "note"}])
    new, _, _ = Journal.open(tmp_path / "j", CLOCK)
    new.append([{"type": "opened"}])
    with pytest.raises(StaleEpoch):
        old.append([{"type": "late"}])
    assert [event["type"] for event in read_events(tmp_path / "j")] == ["note", "opened"]
    old.close()
    new.close()


def test_a_full_disk_is_one_line_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _filled(path)
    code = (
        "import resource, sys, time\nfrom pathlib import Path\nfrom pqsearch.journal.file import Journal\n"
        "from pqsearch.errors import UserError\nimport signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal, _, _ = Journal.open(Path(sys.argv[1]), time.time)\n"
        "size = Path(sys.argv[1]).stat().st_size\nresource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, size + 40))\n"
        "try:\n    journal.append([{'type': 'note', 'value': 'x' * 100}])\n"
        "except UserError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert len(read_events(path)) == 3


def test_nothing_committed_is_lost_to_kill_9(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pqsearch.journal.file import Journal\n"
        "journal, _, _ = Journal.open(Path(sys.argv[1]), time.time)\n"
        "for value in range(10**6):\n    journal.append([{'type': 'note', 'value': value}])\n    print(value, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "j")], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 50:
            break
    os.kill(writer.pid, signal.SIGKILL)
    seen = max([50, *(int(line) for line in writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait()
    journal, events, _ = Journal.open(tmp_path / "j", CLOCK)
    journal.close()
    assert [event["value"] for event in events][: seen + 1] == list(range(seen + 1))


def test_a_held_lock_names_its_holder_and_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pqsearch.journal.lock import Lock\n"
        "lock = Lock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by process {holder.pid} on"):
            Lock(path, wait_seconds=0.3).acquire()
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with Lock(path, wait_seconds=5) as lock:
        assert lock.died is not None
        assert lock.died.startswith(f"process {holder.pid} on")
        assert f"process {os.getpid()} on" in path.read_text()
    with Lock(path, wait_seconds=5) as lock:
        assert lock.died is None, "the one before has given it back"


def _row(id: int, state: str = "done") -> dict:
    entry = {
        "repeat": 0,
        "rung": 0,
        "accuracy": 0.5 + id / 100,
        "images": 10,
        "loss": 1.0,
        "seconds": {},
        "worker": "w",
    }
    return {
        "id": id, "state": state, "genes": [1, 2, 0], "plan_hash": f"{id:x}", "costs": {"bits": 3.0}, "worker": "w",
        "role": None, "failure": "diverged" if state == "failed" else None, "began": 1.0, "ended": 2.0,
        "measurements": [entry] if state == "done" else [],
    }  # fmt: skip


def _study(path: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))


def _mirror(path: Path) -> Mirror:
    return Mirror(path, "s", Knapsack([2, 3, 4]), ["a", "b", "c"], ["accuracy"])


def test_the_mirror_is_a_live_optuna_study(tmp_path: Path) -> None:
    mirror = _mirror(tmp_path / "optuna.log")
    rows = [_row(0), _row(1, "running"), _row(2, "failed")]
    mirror.follow(rows)
    study = _study(tmp_path / "optuna.log")
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]
    rows[1] = _row(1)
    mirror.follow(rows)
    trials = _study(tmp_path / "optuna.log").trials
    assert [trial.user_attrs["id"] for trial in trials] == [0, 2, 1]
    assert trials[2].value == 0.51
    assert trials[2].params == {"a": 3, "b": 4, "c": 2}
    assert trials[1].user_attrs["failure"] == "diverged"


def test_a_torn_mirror_is_rebuilt_and_swapped_in(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    _mirror(path).follow([_row(0), _row(1)])
    path.write_bytes(path.read_bytes()[:-7])
    _mirror(path).follow([_row(0), _row(1), _row(2)])
    assert [trial.user_attrs["id"] for trial in _study(path).trials] == [0, 1, 2]


def test_two_objectives_are_two_directions_in_the_mirror(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    mirror = Mirror(path, "s", Knapsack([2, 3, 4]), ["a", "b", "c"], ["accuracy", "bits"])
    mirror.follow([_row(0), _row(2, "failed")])
    study = _study(path)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.50, 3.0]
    assert study.trials[1].state.name == "FAIL"
