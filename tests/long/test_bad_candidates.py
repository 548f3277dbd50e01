"""Candidates that hang, kill or stop their worker, leak or diverge: each fails with its reason, and the search goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from pqsearch.tune.driver import search
from tests.chaos.ledger import held_at_an_end, started
from tests.conftest import write_spec
from tests.long.misbehaving import CULPRITS, DEADLY, FAILURES, Misbehaving

pytestmark = pytest.mark.long


def test_each_fails_with_its_reason_and_everybody_else_is_evaluated_once(tmp_path: Path) -> None:
    rungs = [{"kind": "calibrate", "max_seconds": 3.0}]
    changes = {"rungs": rungs, "sensitivity": {"source": "none"}, "workers__silence_seconds": 6}
    spec = load_spec(write_spec(tmp_path, study__evaluations=30, **changes))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    state = search(spec, run, prepare(spec).info, "none", lambda progress: None, worker=Misbehaving)
    assert state["finished"]
    study = read_study(run.journal)
    failures = {row["id"]: row["failure"] for row in study.candidates() if row["state"] == "failed"}
    assert failures.keys() == set(CULPRITS.values())
    for act, id in CULPRITS.items():
        assert failures[id].startswith(FAILURES[act]), act
    assert failures[CULPRITS["hangs"]] == "took longer than rungs[0].max_seconds = 3 and was ended"
    for act in ("stops", "holds"):
        assert failures[CULPRITS[act]].endswith("the last one: gave no sign of life for 6 s")
    assert failures[CULPRITS["raises"]].endswith("the last one: ArithmeticError: on purpose")
    assert study.counts["done"] == 30 - len(CULPRITS)
    begun = Counter(started(run.path))
    deadly = {id for act, id in CULPRITS.items() if FAILURES[act] == DEADLY}
    for id in deadly:
        # Twice alone, and before that perhaps among others that it was handed out with.
        assert begun[id, 0, 0] in (2, 3)
    again = {key for key, number in begun.items() if number > 1 and key[0] not in deadly}
    assert again <= held_at_an_end(run.path), "only what a worker held when it ended may be begun again"
    acknowledged = Counter(
        (row["id"], entry["rung"], entry["repeat"]) for row in study.candidates() for entry in row["measurements"]
    )
    assert set(acknowledged.values()) == {1}
