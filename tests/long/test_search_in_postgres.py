"""Whole searches whose journal is a PostgreSQL database: killed and continued, and through every command."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqsearch.run_dir import RunDirectory
from pqsearch.study import read_study
from tests.conftest import write_spec
from tests.postgres import PASSWORD, QUOTED, Server, server

pytestmark = pytest.mark.long

#: Runs the search of the spec sys.argv[1] in this process. Scores are a function of the plan; every start is said.
SEARCH = """
import sys
from pqsearch.local import run_locally
from pqsearch.open_study import open_study
from pqsearch.plan import Accuracy, Result
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec

spec = load_spec(sys.argv[1])
run = RunDirectory.of(spec)
run.prepare(spec)
run.begin_journal(spec.study.name)
opened = open_study(spec, run, prepare(spec).info, "baseline")

def evaluate(item):
    print(item.id, item.rung, item.repeat, flush=True)
    share = int(item.plan.hash, 16) / 16**16
    return Result(item.id, item.rung, item.repeat, Accuracy(share, 100), 1 - share, {"score": 0.01}, None)

run_locally(opened.study, evaluate)
opened.close()
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


def _spec(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    return write_spec(folder, sensitivity={"source": "none"}, study__evaluations=30, study__confirm=2, **changes)


def _paid(run: Path) -> set[tuple[int, int, int]]:
    journal = RunDirectory(run).journal
    rows = read_study(journal).candidates() if journal.exists() else []
    return {(row["id"], entry["rung"], entry["repeat"]) for row in rows for entry in row["measurements"]}


def test_a_search_killed_again_and_again_ends_as_the_unbroken_one_and_pays_for_nothing_twice(
    postgres: Server, tmp_path: Path
) -> None:
    whole = _spec(tmp_path / "whole")
    subprocess.run([sys.executable, "-c", SEARCH, str(whole)], check=True, stdout=subprocess.DEVNULL)
    spec, run = _spec(tmp_path / "killed", study__storage=postgres.url()), tmp_path / "killed" / "run"
    started: Counter[tuple[int, ...]] = Counter()
    for starts in (1, 2, 9, 17, 30, 10**6):
        paid = _paid(run)
        process = subprocess.Popen([sys.executable, "-c", SEARCH, str(spec)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        fresh: list[tuple[int, ...]] = []
        for line in process.stdout:
            fresh.append(tuple(map(int, line.split())))
            if len(fresh) == starts:
                os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
        assert not paid & set(fresh)
        started.update(fresh)
    assert process.returncode == 0
    found, wanted = (
        read_study(RunDirectory(path / "run").journal) for path in (tmp_path / "killed", tmp_path / "whole")
    )
    assert [row["genes"] for row in found.candidates()] == [row["genes"] for row in wanted.candidates()]
    assert found.finished
    assert found.leading(5) and [row["id"] for row in found.leading(5)] == [row["id"] for row in wanted.leading(5)]
    assert not (run / "journal.jsonl").exists()
    # What was running when the kill came began again, and nothing else.
    assert sum(started.values()) - len(started) <= 5


def _pqsearch(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pqsearch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_command_works_on_a_journal_in_a_database_and_shows_no_password(postgres: Server, tmp_path: Path) -> None:
    spec, run = write_spec(tmp_path, study__storage=postgres.url()), tmp_path / "run"
    said = [_pqsearch("run", spec)]
    assert said[0].returncode == 0, said[0].stderr
    said += [_pqsearch("run", spec), _pqsearch("show", run), _pqsearch("report", spec), _pqsearch("select", run)]
    said += [trials := _pqsearch("trials", run, "--json"), whole := _pqsearch("repair", run)]
    assert [done.returncode for done in said] == [0] * len(said)
    assert sum(json.loads(line)["state"] == "done" for line in trials.stdout.splitlines()) == 6
    assert "there is nothing to repair" in whole.stdout
    assert not (run / "journal.jsonl").exists()
    secret = run / "spec.toml"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    for path in run.rglob("*"):
        if path.is_file() and path != secret:
            content = path.read_bytes()
            assert PASSWORD.encode() not in content and QUOTED.encode() not in content, path
    for done in said:
        assert PASSWORD not in done.stdout + done.stderr
        assert QUOTED not in done.stdout + done.stderr

    moved = tmp_path / "moved"
    run.rename(moved)
    assert _pqsearch("trials", moved, "--json").stdout == trials.stdout
    moved.rename(run)

    refused = _pqsearch("run", write_spec(tmp_path, study__run_dir=str(run)))
    assert refused.returncode == 2
    assert "study.storage: the journal of the run in" in refused.stderr

    study = RunDirectory(run).journal.study  # type: ignore[attr-defined]
    postgres.run("UPDATE pqsearch_events SET body = replace(body, '1', '2') WHERE study = %s AND seq = 5", study)
    damaged = _pqsearch("trials", run)
    assert damaged.returncode == 2
    assert "event 6 is damaged or missing; `pqsearch repair RUN_DIR` saves" in damaged.stderr
    mended = _pqsearch("repair", run, "--in-place")
    assert mended.returncode == 0, mended.stderr
    assert "lines 1 to 5: 5 events" in mended.stdout
    assert f"study {study}-damaged-1" in mended.stdout
    assert _pqsearch("trials", run).returncode == 0


def test_a_database_that_cannot_be_reached_is_one_line_before_anything_is_trained(
    postgres: Server, tmp_path: Path
) -> None:
    for url, words in (
        (postgres.url(password="wrong-word"), "password authentication failed"),
        (postgres.url().replace(str(postgres.port), "9"), "Connection refused"),
    ):
        folder = tmp_path / words.split()[0]
        folder.mkdir()
        done = _pqsearch("run", write_spec(folder, study__storage=url))
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("study.storage: ") and words in line
        assert "wrong-word" not in line and QUOTED not in line
        assert not (folder / "run" / "baseline.pth").exists()
        assert not list((folder / "run" / "logs").glob("started-*"))
