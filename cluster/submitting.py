"""Submit a spec to a cluster: attach to the attempt that runs, else begin the next one, which goes on where that ended."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import package
from cluster.head import Head, Job, own_lines
from cluster.job import digest_of, render
from cluster.nodes import BEGUN
from pqsearch.errors import UserError
from pqsearch.spec import load_spec, raw_spec

POLL_SECONDS = 1.0
#: How long a command watches its job begin, unless it is told how long.
BEGIN_SECONDS = 120.0
#: What a cluster may take to start a job at all, beside what that waits for workers.
START_SECONDS = 60.0
#: Others may submit the same study at the same time.
TRIES = 5


@dataclass(frozen=True)
class Prepared:
    """A request, what of it lies in the working directory, and the spec as it is written."""

    request: dict[str, Any]
    folder: Path
    data: dict[str, Any]


def prepare(
    spec: str | Path,
    overrides: Sequence[str] = (),
    *,
    working_dir: str | Path = ".",
    retries: int = 0,
    timeout: float | None = None,
    runs: str | None = None,
) -> Prepared:
    """Everything that can be said without a cluster. Raises `UserError`."""
    if retries < 0:
        raise UserError(f"--retries {retries}: must be at least 0")
    if timeout is not None and not timeout > 0:
        raise UserError(f"--timeout {timeout:g}: must be above 0")
    folder = Path(working_dir).resolve()
    if not folder.is_dir():
        raise UserError(f"--working-dir {working_dir}: is no folder; give the one that holds the spec")
    checked = load_spec(spec, overrides)
    data, _ = raw_spec(Path(spec), overrides)
    command = ["run", package.command_path(Path(spec).absolute(), folder)]
    # How long to wait is no part of the study: it has no part in the id.
    waits = [] if timeout is None else [f"workers.wait={float(timeout)!r}"]
    for text in [*overrides, *waits]:
        command += ["--set", text]
    request = render(
        checked,
        command,
        digest=digest_of(data if runs is None else {**data, "--runs": runs}),  # elsewhere it is another run
        working_dir=str(folder),
        excludes=package.excludes(data, checked.run_dir, folder),
        retries=retries,
        runs=runs,
    )
    return Prepared(request, folder, data)


def submit(prepared: Prepared, head: Head, say: Callable[[str], None] = print) -> str:
    """The id of the attempt that runs from now on, or ran already."""
    request = prepared.request
    with tempfile.TemporaryDirectory() as folder:
        sent: Path | None = None
        for tried in range(TRIES):
            jobs = head.jobs()
            running = _running(request, jobs)
            if running is not None:
                say(f"{running.id}: runs already, attached to it")
                return running.id
            if sent is None:
                sent = package.pack(prepared.folder, request["runtime_env"]["excludes"], Path(folder) / "sent.zip")
                problems = list(package.sent_problems(prepared.data, prepared.folder, sent))
                if problems:
                    raise UserError(problems)
            last = max((_attempt(request, job) for job in jobs), default=0)
            attempt = last + 1 + tried  # an id is refused for ever once it was used, also when nobody remembers its job
            id = f"{request['study']}-{attempt}"
            if head.submit(request, id, str(sent)):
                say(f"{id}: submitted" + (f", goes on where {request['study']}-{last} ended" if last else ""))
                return id
    raise UserError(f"{request['study']}: others submit it at the same time; try again")


def until_begun(head: Head, id: str, timeout: float | None, say: Callable[[str], None] = print) -> None:
    """Watch a job begin. Raises a `UserError` with what it says if it is over at once because of a mistake."""
    seconds = BEGIN_SECONDS if timeout is None else timeout + START_SECONDS
    deadline, told = time.monotonic() + seconds, 0
    while True:
        job = head.job(id)
        lines = own_lines(head.logs(id))
        for line in lines[told:]:
            if line.startswith(BEGUN):
                say(line)
        told = len(lines)
        if any(line.startswith(BEGUN + "room for") for line in lines) or job.status in ("SUCCEEDED", "STOPPED"):
            return
        if job.status == "FAILED":
            raise UserError(failure(job, lines))
        if time.monotonic() >= deadline:
            if timeout is not None:
                raise UserError(
                    f"--timeout {timeout:g}: {id} has not begun ({job.status.lower()}: {job.message or 'nothing more is known'}); "
                    f"it stays there, `pqsearch stop {id}` ends it"
                )
            say(
                f"{id}: has not begun yet ({job.message or job.status.lower()}); `pqsearch logs {id} --follow` shows more"
            )
            return
        time.sleep(POLL_SECONDS)


def failure(job: Job, lines: Sequence[str]) -> list[str]:
    """Why a job failed, in lines for its user."""
    for line in lines:
        if "No module named" in line:
            name = line.rpartition("No module named")[2].strip().strip("'\"")
            return [
                f"{job.id}: the cluster's python has no package {name!r}; install pqsearch with all it needs in the image or "
                "environment of every node"
            ]
        if "command not found" in line or "python: not found" in line:
            return [
                f"{job.id}: {line.strip()}: the job's shell finds no python; put the environment of Ray on the PATH"
            ]
    if job.exit_code == 2:
        told = [line for line in lines if not line.startswith(BEGUN)]
        return told or [f"{job.id}: failed with exit code 2 and said nothing"]
    last = lines[-1] if lines else (job.message.strip().splitlines() or ["it said nothing"])[-1]
    return [f"{job.id}: failed (exit code {job.exit_code}): {last}; `pqsearch logs {job.id}` has the rest"]


def _running(request: Mapping[str, Any], jobs: Sequence[Job]) -> Job | None:
    """The running attempt of the same study and spec. Another spec on the same run directory has to wait."""
    mine = request["metadata"]
    for job in jobs:
        if job.over:
            continue
        if _attempt(request, job):
            return job
        if all(job.metadata.get(key) == mine[key] for key in ("run_dir", "runs")):
            raise UserError(
                f"study.run_dir: {mine['run_dir']} is in use by {job.id}, which runs with another spec; `pqsearch stop {job.id}` "
                "and submit again, or give another study.run_dir"
            )
    return None


def _attempt(request: Mapping[str, Any], job: Job) -> int:
    """Which attempt of the request's study a job is; 0 if it is something else's."""
    study, _, number = job.id.rpartition("-")
    return int(number) if study == request["study"] and number.isdecimal() else 0
