"""Nodes of a real Ray that share no disk: the run directory is in an S3 server, and each node has a cache of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from pqsearch.journal.file import read_events
from pqsearch.run_dir import RunDirectory
from tests import postgres
from tests.conftest import small_spec
from tests.long.ray_head import RayHead
from tests.s3 import Bucket
from tests.waiting import until

pytestmark = pytest.mark.long
EVALUATIONS = 150


def _submit(head: RayHead, folder: Path, url: str, **changes: Any) -> str:
    """A job's id."""
    changes = {"baseline__epochs": 2, "finetune__epochs": 1, "study__evaluations": EVALUATIONS, **changes}
    (folder / "small.toml").write_text(tomli_w.dumps(small_spec(study__run_dir=url, **changes)))
    done = head.command("submit", "small.toml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.match(r"(\S+): ", done.stdout)
    assert found is not None, done.stdout
    return found[1]


def test_nodes_that_share_no_disk_search_and_fine_tune_together(s3_bucket: Bucket, tmp_path: Path) -> None:
    url = s3_bucket.url()
    run = RunDirectory(url)  # in the cache that the head has
    nodes = [("env", f"XDG_CACHE_HOME={tmp_path / name}") for name in ("one", "other")]
    with RayHead(tmp_path, cpus=1) as head, head.another_node(*nodes[0]), head.another_node(*nodes[1]):
        id = _submit(head, tmp_path, url, workers__count=3)
        follow = head.command("logs", id, "--follow", cwd=tmp_path)
        assert follow.returncode == 0, follow.stdout + follow.stderr
        fetched = head.command("fetch", id, "--to", "brought", cwd=tmp_path)
        assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    copies = [run.path, *((tmp_path / name / "pqsearch" / "runs" / run.path.name) for name in ("one", "other"))]
    assert [copy.is_dir() for copy in copies] == [True] * 3
    # Only the job's node has the journal; the others have what they were to work with.
    assert [(copy / "journal.jsonl").exists() for copy in copies] == [True, False, False]
    assert len({(copy / "baseline.pth").read_bytes() for copy in copies}) == 1
    events = read_events(run.path / "journal.jsonl")
    assert len({event["worker"] for event in events if event["type"] == "reported"}) == 3
    found = s3_bucket.objects()
    machines = {name.rpartition("-")[2] for name in found if name.startswith("logs/started-")}
    assert len(machines) == 3, "each machine has written down what its workers began"
    started = [line for name in found if name.startswith("logs/started-") for line in found[name].splitlines()]
    assert len(started) >= sum(event["type"] == "reported" for event in events)
    results = [name for name in found if name.endswith("/result.json") and name.startswith("checkpoints/")]
    assert len(results) >= 3 and {"model.pth", "summary.json", "report.html"} <= found.keys()
    for result in results:
        for name in ("weights.pth", "correct.npy"):
            assert (run.path / result).with_name(name).read_bytes() == found[result.replace("result.json", name)]
    assert (tmp_path / "brought" / "model.pth").read_bytes() == found["model.pth"]


@pytest.mark.release  # `test_search_in_postgres.py` kills searches of a database, one after the other
def test_another_machine_goes_on_with_a_journal_in_a_database_when_the_first_is_lost(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.server() as database:
        storage = {"study__storage": database.url(), "finetune__compare": False}
        measured = "SELECT body::json ->> 'id', body::json ->> 'rung', body::json ->> 'repeat' FROM pqsearch_events " \
            "WHERE body::json ->> 'type' = 'reported'"  # fmt: skip
        (tmp_path / "a").mkdir()
        with RayHead(tmp_path / "a") as head:
            _submit(head, tmp_path / "a", s3_bucket.url(), **storage)
            until(lambda: _has_tables(database) and len(database.run(measured)) >= 30)
            head.kill()
        before = set(database.run(measured))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
        (tmp_path / "b").mkdir()
        with RayHead(tmp_path / "b") as head:
            id = _submit(head, tmp_path / "b", s3_bucket.url(), **storage)
            follow = head.command("logs", id, "--follow", cwd=tmp_path / "b")
            assert follow.returncode == 0, follow.stdout + follow.stderr
            assert "may be at work on it; waits up to" in follow.stdout
        after = database.run(measured)
        assert before < set(after) and len(after) == len(set(after)), (
            "all that was paid for is there, and nothing twice"
        )
        assert database.run("SELECT count(DISTINCT study) FROM pqsearch_events") == [(1,)]
        found = s3_bucket.objects()
        assert {"database.json", "model.pth", "summary.json"} <= found.keys() and "journal.jsonl" not in found
        assert not [
            name
            for name in found
            if postgres.PASSWORD.encode() in found[name] or postgres.QUOTED.encode() in found[name]
        ]


def _has_tables(database: postgres.Server) -> bool:
    return database.run("SELECT to_regclass('pqsearch_events') IS NOT NULL") == [(True,)]
