"""A search whose run directory is in a store, killed, and continued on machines that share nothing else."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pqsearch.cli import main
from pqsearch.run_dir import RunDirectory
from pqsearch.store_owner import look
from tests.chaos.ledger import Ledger
from tests.chaos.processes import SearchProcess
from tests.conftest import write_spec
from tests.s3 import Bucket

pytestmark = pytest.mark.long
#: More than is through before somebody has looked.
MANY = 400


@pytest.mark.release  # `test_no_shared_disk.py` has a store, and `test_search_in_postgres.py` kills
def test_a_search_that_is_killed_goes_on_where_its_journal_is_and_nowhere_else(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path, study__evaluations=MANY, study__run_dir=s3_bucket.url())
    run = RunDirectory(s3_bucket.url())
    ledger = Ledger(run.path)
    killed = SearchProcess(spec, tmp_path / "killed.txt")
    try:
        killed.until(lambda: ledger.sees(20))
    finally:
        killed.end()
    ledger.look()
    paid = len(ledger.acknowledged)
    assert 20 <= paid < MANY

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
        assert main(["search", str(spec)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"its journal is a file on {look(run.store.objects).host}, in {run.path}," in line  # type: ignore[union-attr]
        assert "run the command there, or keep the journal of another run in PostgreSQL (study.storage)" in line

    again = SearchProcess(spec, tmp_path / "again.txt")
    try:
        again.until(lambda: ledger.sees(paid + 10))
        assert "goes on there" in again.log.read_text()
        again.process.send_signal(signal.SIGTERM)
        assert again.wait() == 130
    finally:
        again.end()
    ledger.look()
    assert (ledger.lost, ledger.twice) == (set(), set())

    # It was given back, with everything that it had: now it is any machine's.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    other = RunDirectory(s3_bucket.url())
    assert other.path != run.path
    moved = SearchProcess(
        spec, tmp_path / "moved.txt", arguments=["--set", f"study.evaluations={len(ledger.acknowledged) // 2}"]
    )
    try:
        assert moved.wait() == 0, moved.log.read_text()
    finally:
        moved.end()
    assert (other.path / "journal.jsonl").read_bytes().startswith((run.path / "journal.jsonl").read_bytes())
    before, after = ledger.acknowledged, Ledger(other.path)
    after.look()
    assert before <= after.acknowledged and after.twice == set()
