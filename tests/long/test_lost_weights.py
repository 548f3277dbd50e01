"""Weights that are not there when a plan goes on from them: its lower rungs are climbed once more, and counted apart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import pqsearch
from pqsearch.plan import Item
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from pqsearch.tune.driver import search
from pqsearch.tune.worker import Worker
from tests.chaos.ledger import Key, acknowledged, recomputed, started
from tests.conftest import write_spec

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a search that has promoted plans, on one worker and one disk."""
    folder = tmp_path_factory.mktemp("promoted")
    spec = write_spec(
        folder,
        study__evaluations=12,
        workers={"count": 1, "cpus": 1},
        halving={"factor": 2.0, "kind": "promotion"},
        algorithm={"name": "random_search"},  # a candidate's number says its plan, whatever was known by then
        sensitivity={"source": "none"},
    )
    subprocess.run([sys.executable, "-m", "pqsearch", "search", str(spec)], check=True)
    assert recomputed(folder / "run") == []
    return folder / "run"


class Forgetful(Worker):
    """It never finds what another evaluation has left."""

    def lost(self, item: Item) -> list[Item]:
        self.context.held = None
        for path in self.context.scratch.glob("*.pth"):
            path.unlink()
        return super().lost(item)


def test_without_a_disk_that_workers_share_plans_get_the_same_scores_and_nothing_else_is_repeated(
    promoted: Path, tmp_path: Path
) -> None:
    spec = load_spec(promoted / "spec.toml", [f"study.run_dir={tmp_path / 'run'}"])
    run = RunDirectory.of(spec)
    run.prepare(spec)
    shutil.copy(promoted / "baseline.pth", run.baseline)
    state = search(spec, run, prepare(spec).info, "the same", lambda progress: None, worker=Forgetful)
    assert state["finished"]
    assert state["failed"] == 0
    before, after = _scores(promoted), _scores(run.path)
    both = before.keys() & after.keys()
    assert {rung for _, rung, _ in both} == {0, 1}
    assert {key: after[key] for key in both} == {key: before[key] for key in both}
    higher = [key for key in after if key[1] == 1]
    assert state["recomputed"] == read_study(run.journal).recomputed == len(recomputed(run.path)) == len(higher) > 0
    assert set(Counter(started(run.path)).values()) == set(acknowledged(run.path).values()) == {1}


@pytest.mark.release
def test_after_a_repair_a_plan_between_two_rungs_goes_on_without_its_weights(promoted: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(promoted, tmp_path / "run"))
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if json.loads(line)["type"] == "promoted")
    lines[number + 1] = lines[number + 1].replace(b'"', b"'", 1)
    (run / "journal.jsonl").write_bytes(b"".join(lines))
    assert pqsearch.repair(run, in_place=True)["damaged"] == number + 2
    command = [sys.executable, "-m", "pqsearch", "run", str(run / "spec.toml"), "--set", f"study.run_dir={run}"]
    subprocess.run(command, check=True)
    study = read_study(run / "journal.jsonl")
    assert study.finished
    assert study.counts["failed"] == 0
    assert study.recomputed == len(recomputed(run)) > 0
    assert json.loads((run / "summary.json").read_text())["recomputed"] == study.recomputed
    assert "climbed once more, and counted once, because" in (run / "report.html").read_text()


def _scores(run: Path) -> dict[Key, Any]:
    """Plan, accuracy and loss of each measurement."""
    return {
        (row["id"], entry["rung"], entry["repeat"]): (row["plan_hash"], entry["accuracy"], entry["loss"])
        for row in read_study(run / "journal.jsonl").candidates()
        for entry in row["measurements"]
    }
