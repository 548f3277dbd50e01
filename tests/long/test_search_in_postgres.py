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

from pqsearch.cli import main
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
from pqsearch.cli import main
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


class Commands:
    """Commands of `pqsearch`, run in this process; keeps what they say."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.said = ""

    def __call__(self, *arguments: Any) -> tuple[int, str]:
        """The exit code, and what was said on both channels."""
        code = main([str(argument) for argument in arguments])
        said = "".join(self._capfd.readouterr())
        self.said += said
        return code, said


def test_every_command_works_on_a_journal_in_a_database_and_shows_no_password(
    postgres: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec, run = write_spec(tmp_path, study__storage=postgres.url()), tmp_path / "run"
    pqsearch = Commands(capfd)
    for arguments in (("run", spec), ("run", spec), ("show", run), ("report", spec), ("select", run)):
        code, said = pqsearch(*arguments)
        assert code == 0, said
    _, trials = pqsearch("trials", run, "--json")
    assert sum(json.loads(line)["state"] == "done" for line in trials.splitlines()) == 6
    code, said = pqsearch("repair", run)
    assert (code, "there is nothing to repair" in said) == (0, True)
    assert not (run / "journal.jsonl").exists()
    secret = run / "spec.toml"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    for path in run.rglob("*"):
        if path.is_file() and path != secret:
            content = path.read_bytes()
            assert PASSWORD.encode() not in content and QUOTED.encode() not in content, path

    moved = tmp_path / "moved"
    run.rename(moved)
    assert pqsearch("trials", moved, "--json") == (0, trials)
    moved.rename(run)

    code, said = pqsearch("run", write_spec(tmp_path, study__run_dir=str(run)))
    assert (code, "study.storage: the journal of the run in" in said) == (2, True)

    study = RunDirectory(run).journal.study  # type: ignore[attr-defined]
    postgres.run("UPDATE pqsearch_events SET body = replace(body, '1', '2') WHERE study = %s AND seq = 5", study)
    code, said = pqsearch("trials", run)
    assert code == 2
    assert "event 6 is damaged or missing; `pqsearch repair RUN_DIR` saves" in said
    code, said = pqsearch("repair", run, "--in-place")
    assert code == 0
    assert "lines 1 to 5: 5 events" in said
    assert f"study {study}-damaged-1" in said
    assert pqsearch("trials", run)[0] == 0
    assert PASSWORD not in pqsearch.said and QUOTED not in pqsearch.said


def test_a_database_that_cannot_be_reached_is_one_line_before_anything_is_trained(
    postgres: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pqsearch = Commands(capfd)
    for url, words in (
        (postgres.url(password="wrong-word"), "password authentication failed"),
        (postgres.url().replace(str(postgres.port), "9"), "Connection refused"),
    ):
        folder = tmp_path / words.split()[0]
        folder.mkdir()
        code, said = pqsearch("run", write_spec(folder, study__storage=url))
        assert code == 2
        assert said.strip().splitlines()[-1].startswith("study.storage: ") and words in said
        assert "wrong-word" not in said and QUOTED not in said
        assert not (folder / "run" / "baseline.pth").exists()
        assert not list((folder / "run" / "logs").glob("started-*"))
