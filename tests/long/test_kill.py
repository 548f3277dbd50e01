"""`kill -9` of the whole process tree at ten random moments: the same command goes on and pays for nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from pqsearch.run_dir import HALF_WRITTEN
from pqsearch.study import read_study
from tests.chaos.ledger import Key, started
from tests.conftest import write_spec

pytestmark = pytest.mark.long

KILLS, MOST_KILLS = 10, 60


def _acknowledged(run: Path) -> set[Key]:
    if not (run / "journal.jsonl").is_file():
        return set()
    rows = read_study(run / "journal.jsonl").candidates()
    return {(row["id"], entry["rung"], entry["repeat"]) for row in rows for entry in row["measurements"]}


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """By process id, children first found, so that none is left to write behind our back."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def _wait_for_a_sign(process: subprocess.Popen[bytes], run: Path, size: int) -> None:
    """Until the log grows or the process ends: how long starting takes is the machine's affair."""
    while process.poll() is None and _size(run) <= size:
        time.sleep(0.05)


def _size(run: Path) -> int:
    log = run / "logs" / "pqsearch.log"
    return log.stat().st_size if log.is_file() else 0


def _stage(run: Path) -> str:
    if (run / "model.pth").is_file():
        return "export"
    if any((run / "checkpoints").glob("*/progress.json")):
        return "finetune"
    if (run / "journal.jsonl").is_file():
        return "search"
    return "baseline"


@pytest.mark.release  # `test_jobs.py` has one kill in mid-search
def test_nothing_acknowledged_is_evaluated_again_after_ten_kills(tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path,
        study__evaluations=20,
        baseline__epochs=60,
        rungs=[{"kind": "calibrate", "images": 64}, {"kind": "fine_tune", "steps": 60, "batch_size": 32}],
        finetune={"epochs": 40, "lr": 0.05, "batch_size": 64},
    )
    run, command = tmp_path / "run", [sys.executable, "-m", "pqsearch", "run", str(spec)]
    rng = random.Random(0)
    stages: list[str] = []
    paid: set[Key] = set()
    finetuned: dict[Path, Any] = {}
    # The moments are random; on a busy machine it takes more of them until not all have hit the same stage.
    while len(stages) < KILLS or (len(set(stages)) < 2 and len(stages) < MOST_KILLS):
        before, size = Counter(started(run)), _size(run)
        with (tmp_path / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for_a_sign(process, run, size)
            process.wait(timeout=rng.uniform(1, 16))
            assert process.returncode == 0, (tmp_path / "log.txt").read_text()[-3000:]
        except subprocess.TimeoutExpired:
            _kill_tree(process)
        time.sleep(0.5)
        assert not paid & (Counter(started(run)) - before).keys()
        paid |= _acknowledged(run)
        for path, content in finetuned.items():
            assert path.read_bytes() == content, f"{path} was paid for twice"
        finetuned = {path: path.read_bytes() for path in (run / "checkpoints").glob("*/result.json")}
        stages.append(_stage(run))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len([row for row in read_study(run / "journal.jsonl").candidates() if row["state"] == "done"]) == 20
    assert (run / "report.html").is_file()
    assert len(set(stages)) >= 2, stages


@pytest.mark.release
def test_a_run_killed_as_it_exports_and_as_it_reports_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    """These stages are too short for chance to hit them: the kill comes when the file before them appears."""
    spec = write_spec(tmp_path)
    run, command = tmp_path / "run", [sys.executable, "-m", "pqsearch", "run", str(spec)]
    for sign, stage in ((run / "plan.json", "export"), (run / "model.pth", "report")):
        with (tmp_path / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while not sign.is_file():
            assert process.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
            time.sleep(0.0005)
        _kill_tree(process)
        assert not (run / "summary.json").is_file(), f"the {stage} was over before the kill came"
    before = started(run), {path: path.read_bytes() for path in (run / "checkpoints").glob("*/result.json")}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert before == (
        started(run),
        {path: path.read_bytes() for path in (run / "checkpoints").glob("*/result.json")},
    )
    evaluated = subprocess.run(
        [sys.executable, "-m", "pqsearch", "evaluate", str(run)], capture_output=True, text=True, check=True
    )
    summary = json.loads((run / "summary.json").read_text())
    assert json.loads(evaluated.stdout)["test_accuracy"] == summary["searched"]["test_accuracy"]
    assert not list(run.rglob(HALF_WRITTEN))


@pytest.mark.release
def test_a_correlation_killed_in_the_middle_goes_on_and_pays_for_no_plan_twice(
    finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    command = [sys.executable, "-m", "pqsearch", "correlate", str(run)]
    left_alone = {name: (run / name).read_bytes() for name in ("plan.json", "model.pth", "journal.jsonl")}
    for _ in range(2):  # each time when one more plan is through
        paid = _results(run)
        with (tmp_path / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while len(_results(run)) == len(paid):
            assert process.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
            time.sleep(0.01)
        _kill_tree(process)
        assert paid.items() <= _results(run).items()
    paid = _results(run)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert paid.items() < _results(run).items(), "all plans were through before the last kill"
    found = json.loads((run / "correlation.json").read_text())
    assert len(found["plans"]) == found["select"]["plans"] == 8
    assert {name: (run / name).read_bytes() for name in left_alone} == left_alone
    assert not list(run.rglob(HALF_WRITTEN))


def _results(run: Path) -> dict[Path, bytes]:
    """The full fine-tunes that are finished."""
    return {path: path.read_bytes() for path in (run / "checkpoints").glob("*/result.json")}
