"""A worker process stopped in the middle of an evaluation: the study misses it, and another takes its seat."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from pqsearch.plan import Item, Result
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from pqsearch.tune.driver import search
from tests.chaos.ledger import acknowledged, held_at_an_end, started
from tests.conftest import write_spec
from tests.long.misbehaving import Light

pytestmark = pytest.mark.long

SILENCE_SECONDS = 5
#: Candidates by what they do.
STOPS, SLEEPS = 16, 5
EVALUATIONS = 40


class Stopped(Light):
    """One candidate stops the process that evaluates it first; another takes longer than a silent worker may be."""

    def load(self, config: dict[str, Any]) -> Any:
        return RunDirectory(config["run_dir"]).scratch

    def evaluate(self, item: Item) -> Result:
        first = self.context / "stopped"
        if item.id == STOPS and not first.exists():
            first.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        if item.id == SLEEPS and item.repeat == 0:
            time.sleep(3 * SILENCE_SECONDS)
        return super().evaluate(item)


def test_a_stopped_worker_is_missed_and_ended_and_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"sensitivity": {"source": "none"}, "rungs": [{"kind": "calibrate"}]}
    spec = load_spec(
        write_spec(tmp_path, study__evaluations=EVALUATIONS, workers__silence_seconds=SILENCE_SECONDS, **changes)
    )
    run = RunDirectory.of(spec)
    run.prepare(spec)
    state = search(spec, run, prepare(spec).info, "none", lambda progress: None, worker=Stopped)
    assert state["finished"]
    study = read_study(run.journal)
    assert study.counts["done"] == EVALUATIONS
    died = [event for event in run.journal.read_events() if event["type"] == "died"]
    assert STOPS in [event["id"] for event in died]
    assert {event["reason"] for event in died} == {f"gave no sign of life for {SILENCE_SECONDS} s"}
    assert SLEEPS not in [event["id"] for event in died], "its worker has beaten all the time"
    assert set(acknowledged(run.path).values()) == {1}
    again = {key for key, number in Counter(started(run.path)).items() if number > 1}
    assert again <= held_at_an_end(run.path), "paid for again is what it held, nothing else"
    pid = int((run.scratch / "stopped").read_text())
    assert not psutil.pid_exists(pid) or "ray::" not in " ".join(psutil.Process(pid).cmdline())
