"""Candidates that hang, kill their worker, leak or diverge: each fails with its reason, and the search goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from pqsearch.tune.driver import search
from tests.chaos.ledger import started
from tests.conftest import write_spec
from tests.long.misbehaving import DIVERGES, HANGS, KILLS, LEAKS, Misbehaving

pytestmark = pytest.mark.long


def test_each_fails_with_its_reason_and_everybody_else_is_evaluated_once(tmp_path: Path) -> None:
    rungs = [{"kind": "calibrate", "max_seconds": 3.0}]
    spec = load_spec(write_spec(tmp_path, study__evaluations=30, rungs=rungs, sensitivity={"source": "none"}))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    state = search(spec, run, prepare(spec).info, "none", lambda progress: None, worker=Misbehaving)
    assert state["finished"]
    study = read_study(run.journal)
    failures = {row["id"]: row["failure"] for row in study.candidates() if row["state"] == "failed"}
    assert failures.keys() == {HANGS, KILLS, LEAKS, DIVERGES}
    assert failures[HANGS] == "took longer than rungs[0].max_seconds = 3 and was ended"
    assert failures[KILLS].startswith("took down 2 workers")
    assert failures[LEAKS].startswith("out of memory")
    assert failures[DIVERGES].startswith("diverged")
    assert study.counts["done"] == 26
    begun = Counter(started(run.path))
    assert begun[KILLS, 0, 0] in (2, 3), "twice alone, and before that perhaps among others that it was handed out with"
    again = {key: number for key, number in begun.items() if number > 1 and key[0] != KILLS}
    assert len(again) <= 3, "only what a worker had begun when it ended may be begun again"
    acknowledged = Counter(
        (row["id"], entry["rung"], entry["repeat"]) for row in study.candidates() for entry in row["measurements"]
    )
    assert set(acknowledged.values()) == {1}
