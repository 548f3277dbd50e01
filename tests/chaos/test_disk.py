"""Disks that fill up or may not be written to in the middle of a search, and a clock that jumps back: real ones, in real processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from tests.chaos.ledger import Ledger
from tests.chaos.processes import SearchProcess
from tests.chaos.suggestions import compared
from tests.conftest import write_spec

pytestmark = pytest.mark.long

EVALUATIONS = 40
#: Permissions bind root, too, without these.
BOUND = ("setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search")
#: Each process of a search sees its clock go back by an hour once a file is there.
JUMPING_CLOCK = """
import os, time
_time = time.time
time.time = lambda: _time() - (3600 if os.path.exists({flag!r}) else 0)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory; mounting one takes root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "pqsearch-chaos", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_fills_up_ends_the_search_in_a_line_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    spec = _spec(tmp_path, small_disk / "run")
    search, ledger = _under_way(spec, tmp_path / "log.txt")
    filler = small_disk / "filler"
    try:
        _fill(filler)
        code = search.wait()
    finally:
        search.end()
    ledger.look()
    assert code in (1, 2)
    assert "No space left on device" in search.last_line()
    assert "the same command continues" in search.last_line()
    assert not any("Traceback" in line for line in search.lines())
    filler.unlink()
    _goes_on_to_the_end(spec, ledger, tmp_path / "again.txt")


@pytest.mark.release  # a full disk is above
def test_a_folder_that_may_not_be_written_to_any_more_ends_it_likewise(tmp_path: Path) -> None:
    spec = _spec(tmp_path, tmp_path / "run")
    search, ledger = _under_way(spec, tmp_path / "log.txt", prefix=BOUND if os.getuid() == 0 else ())
    folders = [tmp_path / "run", tmp_path / "run" / "scratch"]
    try:
        for folder in folders:
            folder.chmod(0o555)
        code = search.wait()
    finally:
        search.end()
        for folder in folders:
            folder.chmod(0o755)
    ledger.look()
    assert code in (1, 2)
    assert "Permission denied" in search.last_line()
    assert "the same command continues" in search.last_line()
    _goes_on_to_the_end(spec, ledger, tmp_path / "again.txt")


@pytest.mark.release
def test_a_clock_that_jumps_back_changes_nothing(tmp_path: Path) -> None:
    flag = tmp_path / "jump"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(JUMPING_CLOCK.format(flag=str(flag)))
    spec = _spec(tmp_path, tmp_path / "run")
    search, ledger = _under_way(spec, tmp_path / "log.txt", environment={"PYTHONPATH": str(tmp_path / "site")})
    flag.touch()
    try:
        code = search.wait()
    finally:
        search.end()
    assert code == 0, search.last_line()
    study = read_study(tmp_path / "run" / "journal.jsonl")
    assert study.counts["done"] == EVALUATIONS
    ledger.look()
    assert not ledger.lost
    assert not ledger.twice
    times = [row["ended"] - row["began"] for row in study.candidates() if row["ended"] is not None]
    assert min(times) < 0, "the clock did jump"
    assert study.seconds() >= 0


def _spec(folder: Path, run: Path) -> Path:
    return write_spec(
        folder,
        study__run_dir=str(run),
        study__evaluations=EVALUATIONS,
        rungs=[{"kind": "calibrate", "images": 64}, {"kind": "fine_tune", "steps": 2, "batch_size": 32}],
    )


def _under_way(spec: Path, log: Path, **how: Any) -> tuple[SearchProcess, Ledger]:
    """A search that has brought its first results."""
    search, ledger = SearchProcess(spec, log, **how), Ledger(Path(load_spec(spec).run_dir))
    search.until(lambda: ledger.sees(4))
    assert search.running, search.last_line()
    return search, ledger


def _fill(path: Path) -> None:
    """Until there is no room for another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _goes_on_to_the_end(spec: Path, ledger: Ledger, log: Path) -> None:
    again = SearchProcess(spec, log)
    try:
        code = again.wait()
    finally:
        again.end()
    assert code == 0, again.last_line()
    ledger.look()
    assert not ledger.lost
    assert not ledger.twice
    run = RunDirectory(Path(load_spec(spec).run_dir))
    assert read_study(run.journal).counts["done"] == EVALUATIONS
    same, proposed = compared(load_spec(spec), run)
    assert 0 < proposed == same
