"""A worker process killed in mid-search: another takes its candidate, and nothing acknowledged is paid for again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pqsearch.study import read_study
from tests.chaos.ledger import Ledger, begun_by, started
from tests.conftest import write_spec
from tests.waiting import MOST_SECONDS, until

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What a shell begins in its background ignores SIGINT, and hands that on to its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_search_survives_its_workers(tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path,
        study__evaluations=30,
        rungs=[{"kind": "calibrate", "images": 64}, {"kind": "fine_tune", "steps": 60, "batch_size": 32}],
    )
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "pqsearch", "search", str(spec)], stderr=subprocess.PIPE, text=True
    )
    ledger, killed = Ledger(run), set()
    try:
        for wanted in (8, 30):
            until(lambda wanted=wanted: len(started(run)) >= wanted or process.poll() is not None)
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            workers = [
                child
                for child in psutil.Process(process.pid).children(recursive=True)
                if "ResourceTrainable" in " ".join(child.cmdline())
            ]
            assert workers
            ledger.look()
            killed.add(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=MOST_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    rows = read_study(run / "journal.jsonl").candidates()
    assert sum(row["state"] == "done" for row in rows) == 30
    results = [(row["id"], entry["rung"], entry["repeat"]) for row in rows for entry in row["measurements"]]
    assert len(results) == len(set(results))
    ledger.look()
    assert not ledger.lost and not ledger.twice
    # What a worker was at when it died, and what it had finished and the study had not heard of yet, which is the work of a
    # moment; `twice` would have what the study had heard of.
    again = {key for key, number in Counter(started(run)).items() if number > 1}
    assert again <= begun_by(run, killed)


@pytest.mark.release  # `test_jobs.py` stops a job in mid-search and continues it
def test_an_interrupted_search_says_so_and_the_same_command_continues(tmp_path: Path) -> None:
    spec, run = write_spec(tmp_path, study__evaluations=12), tmp_path / "run"
    command = [sys.executable, "-m", "pqsearch", "search", str(spec)]
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        before = len(started(run))
        until(lambda before=before: len(started(run)) >= before + 2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=MOST_SECONDS)
        assert process.returncode == 130, errors
        assert "interrupted: nothing finished is lost" in errors
        assert "Traceback" not in errors
    assert subprocess.run(command, check=False).returncode == 0
    begun = started(run)
    paid = [
        (row["id"], entry["rung"], entry["repeat"])
        for row in read_study(run / "journal.jsonl").candidates()
        for entry in row["measurements"]
    ]
    assert len(paid) == len(set(paid))
    # What two workers were at, twice; and what one of them finished in the very last moment.
    assert len(begun) - len(set(begun)) <= 6


@pytest.mark.release  # the lock itself is in `test_journal_edges.py`
def test_a_second_process_is_refused_while_the_first_one_searches(tmp_path: Path) -> None:
    spec, run = write_spec(tmp_path, study__evaluations=200), tmp_path / "run"
    command = [sys.executable, "-m", "pqsearch", "search", str(spec)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: list((run / "logs").glob("started-*.jsonl")))
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert f"in use by process {first.pid}" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(timeout=MOST_SECONDS)
