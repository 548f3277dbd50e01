"""Bring the results of a submitted run here, by Ray's job server alone: small jobs print the files, their logs are read."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.head import Head, Job, own_lines
from cluster.job import OURS
from cluster.sending import MARK
from cluster.submitting import failure
from pqsearch import __version__
from pqsearch.errors import UserError
from pqsearch.journal.lock import Lock
from pqsearch.run_dir import RunDirectory, writable, write_atomically

#: More than this is not what a log is for; copy from the cluster's disk.
MOST_BYTES = 2**30
POLL_SECONDS = 0.5
PART_SECONDS = 600.0


@dataclass
class _File:
    sha256: str
    size: int
    data: bytearray = field(default_factory=bytearray)


def fetch(head: Head, id: str, to: str | Path | None = None) -> tuple[Path, int, int]:
    """The folder that holds the results of a job's run afterwards, how many files, and how many bytes."""
    job = head.job(id)
    run = RunDirectory(to if to is not None else f"runs/{job.study}")
    origin = {"address": head.address, "study": job.study, "run_dir": job.metadata.get("run_dir", ""), "job": id}
    _check_target(run, origin)
    with writable(run.path):
        run.logs.mkdir(parents=True, exist_ok=True)
    number = total = 0
    with Lock(run.lock, wait_seconds=0.0):
        run.write(run.fetched, origin)
        for name, data in _files(head, job):
            number, total = number + 1, total + len(data)
            if total > MOST_BYTES:
                raise UserError(
                    f"{id}: the run directory has more than {MOST_BYTES // 2**20} MiB of results, too much for the way by a "
                    "job's log; copy it from the cluster's disk"
                )
            with writable(run.path):
                write_atomically(_inside(run.path, name), data)
    return run.path, number, total


def request(job: Job, after: str = "", offset: int = 0) -> dict[str, Any]:
    """The job that prints a part of another one's run directory."""
    where = [job.metadata.get("run_dir", ""), job.metadata.get("runs", "")]
    return {
        "entrypoint": shlex.join(["python", "-m", "cluster.sending", *where, after, str(offset)]),
        "runtime_env": {},
        "metadata": {OURS: __version__, "of": job.id},
    }


def _files(head: Head, job: Job) -> Iterator[tuple[str, bytes]]:
    """Whole files, each checked against what its sender says of it."""
    after, offset, found = "", 0, _File("", 0)
    while True:
        more = False
        for record in _part(head, job, after, offset):
            if "missing" in record:
                raise UserError(
                    f"{job.id}: there is no run in {record['missing']} on the cluster (yet); `pqsearch status {job.id}` says "
                    "how far the job is. A run directory has to be on a disk that the head node sees"
                )
            if "next" in record:
                (after, offset), more = record["next"], True
            if "file" not in record:
                continue
            if record["offset"] == 0:
                found = _File(record["sha256"], record["size"])
            found.data += base64.b64decode(record["data"])
            if len(found.data) >= found.size or record["sha256"] != found.sha256:
                if hashlib.sha256(found.data).hexdigest() != record["sha256"]:
                    raise UserError(f"{job.id}: {record['file']} has changed while it was fetched; fetch again")
                yield record["file"], bytes(found.data)
        if not more:
            return


def _part(head: Head, job: Job, after: str, offset: int) -> list[dict[str, Any]]:
    """What one such job has printed; the job is forgotten."""
    asked = request(job, after, offset)
    id = f"{job.id}-fetch-{uuid.uuid4().hex[:8]}"
    head.submit(asked, id)
    deadline = time.monotonic() + PART_SECONDS
    while not (state := head.state(id)).over:
        if time.monotonic() >= deadline:
            raise UserError(
                f"{id}: has not ended after {PART_SECONDS:g} seconds; is the cluster busy? fetch again later"
            )
        time.sleep(POLL_SECONDS)
    log = head.logs(id)
    if state.status != "SUCCEEDED":
        raise UserError(failure(state, own_lines(log)))
    head.delete(id)
    records = [json.loads(line.removeprefix(MARK)) for line in log.splitlines() if line.startswith(MARK)]
    if not records or not records[-1].keys() & {"end", "next", "missing"}:
        raise UserError(f"{id}: its log is not whole; fetch again")
    return records


def _check_target(run: RunDirectory, origin: Mapping[str, str]) -> None:
    """Only what was fetched before from the same run may be replaced."""
    before = run.read(run.fetched)
    if before is not None and any(before.get(key) != origin[key] for key in ("address", "study", "run_dir")):
        raise UserError(
            f"--to {run.path}: holds results of study {before.get('study')!r}, fetched from {before.get('address')}, and "
            f"{origin['job']} is a job of study {origin['study']!r} at {origin['address']}; give another folder"
        )
    if before is None and run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        raise UserError(f"--to {run.path}: holds something that was not fetched; give another folder")


def _inside(folder: Path, name: str) -> Path:
    """The file's place; names come from the cluster and lead nowhere else."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UserError(
            f"fetch: the cluster sent a file called {name!r}, which would be outside {folder}; nothing is written"
        )
    return folder / path
