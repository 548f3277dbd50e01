"""What a worker writes, and what of it leaves its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory
from pqsearch.store import Store
from pqsearch.tune import workplace
from pqsearch.tune.workplace import Workplace
from tests.s3 import Bucket


@pytest.fixture
def driver(s3_bucket: Bucket, tmp_path: Path) -> Store:
    """The copy of the machine that has begun the run, with a baseline in the store."""
    store = Store(s3_bucket.url(), tmp_path / "driver")
    store.folder.mkdir()
    (store.folder / "baseline.pth").write_bytes(b"weights")
    (store.folder / "journal.jsonl").write_bytes(b"")
    store.push()
    return store


def test_in_a_folder_files_are_called_after_the_seat_and_nothing_is_tidied(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.scratch.mkdir()
    for number in range(workplace.MOST_WEIGHTS + 1):
        (run.scratch / f"{number}-0-0-a.pth").touch()
    place = Workplace(run, "worker-0")
    place.tidy(last=True)
    assert (place.started, place.hung) == (run.logs / "started-worker-0.jsonl", run.logs / "hung-worker-0.log")
    assert len(list(run.scratch.iterdir())) == workplace.MOST_WEIGHTS + 1


def test_a_machine_brings_the_baseline_and_takes_its_logs_there(driver: Store, s3_bucket: Bucket) -> None:
    run = RunDirectory(s3_bucket.url())
    place = Workplace(run, "worker-0")
    assert run.baseline.read_bytes() == b"weights" and not run.journal_file.exists() and run.scratch.is_dir()
    place.started.write_text("{}\n")
    (run.logs / "hung-worker-9-0.log").write_text("of one that ended itself")
    (run.scratch / "0-0-0-a.pth").touch()
    place.tidy()
    assert place.started.name not in str(s3_bucket.objects().keys()), "it is not yet time"
    place.tidy(last=True)
    names = {f"logs/{place.started.name}", "logs/hung-worker-9-0.log"}
    assert s3_bucket.objects().keys() == {"baseline.pth", "journal.jsonl", *names}


def test_a_seat_that_moves_writes_another_file(
    driver: Store, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = Workplace(RunDirectory(s3_bucket.url()), "worker-0").started
    assert Workplace(RunDirectory(s3_bucket.url()), "worker-0").started == here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert Workplace(RunDirectory(s3_bucket.url()), "worker-0").started.name != here.name


def test_another_baseline_in_the_store_is_the_one_that_counts(driver: Store, s3_bucket: Bucket) -> None:
    run = RunDirectory(s3_bucket.url())
    Workplace(run, "worker-0")
    (driver.folder / "baseline.pth").write_bytes(b"other weights")
    driver.push()
    Workplace(run, "worker-0")
    assert run.baseline.read_bytes() == b"other weights"


def test_the_oldest_weights_of_rungs_go_first(
    driver: Store, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workplace, "MOST_WEIGHTS", 2)
    run = RunDirectory(s3_bucket.url())
    place = Workplace(run, "worker-0")
    for age, name in enumerate(("3-0-0-a.pth", "1-0-0-a.pth", "2-0-0-a.pth")):
        (run.scratch / name).touch()
        os.utime(run.scratch / name, ns=(0, age))
    place.tidy(last=True)
    assert {path.name for path in run.scratch.iterdir()} == {"1-0-0-a.pth", "2-0-0-a.pth"}


def test_a_store_that_is_away_keeps_no_worker_from_ending(driver: Store, s3_bucket: Bucket) -> None:
    place = Workplace(RunDirectory(s3_bucket.url()), "worker-0")
    place.started.write_text("{}\n")
    s3_bucket.server.ask_for_keys(True)
    place.tidy(last=True)
    with pytest.raises(UserError, match="the store gives no access"):
        Workplace(RunDirectory(s3_bucket.url()), "worker-1")
