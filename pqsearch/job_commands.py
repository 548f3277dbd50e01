"""The commands that need nothing but a cluster's job server: submit, jobs, status, logs, stop, fetch."""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING

from pqsearch.arguments import Add, with_spec

if TYPE_CHECKING:
    from cluster.head import Head, Job

POLL_SECONDS = 1.0
#: A job that is told to stop has a minute, and Ray a moment to notice.
STOP_SECONDS = 90.0


def add_commands(add: Add) -> None:
    """Add them to the command line."""
    command = with_spec(
        add(
            "submit", "run a spec on a Ray cluster, or attach to the run of it that is there",
            "pqsearch submit examples/digits.toml --address http://head:8265", _submit,
        )
    )  # fmt: skip
    _with_address(command)
    command.add_argument("--working-dir", default=".", metavar="DIR", help="what is sent, without data and runs (.)")
    command.add_argument("--runs", metavar="DIR", help="the cluster's folder for relative run directories (~/pqsearch)")
    command.add_argument("--retries", type=int, default=0, metavar="N", help="start it again when it fails (0)")
    command.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up when no worker finds room (waits for ever)"
    )
    command.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    command.add_argument("--follow", action="store_true", help="then show what it prints, to its end")
    jobs = _with_address(add("jobs", "list the runs that were submitted to a cluster", "pqsearch jobs", _jobs))
    jobs.add_argument("--json", action="store_true", help="a JSON line per job")
    for name, meaning, function in (
        ("status", "say how a submitted run is doing", _status),
        ("logs", "print what a submitted run has printed", _logs),
        ("stop", "end a submitted run cleanly; submit goes on with it", _stop),
        ("fetch", "bring the results of a submitted run here", _fetch),
    ):
        command = _with_address(add(name, meaning, f"pqsearch {name} digits-1a2b3c4d-1", function))
        command.add_argument("id", metavar="ID", help="as `pqsearch jobs` lists it")
        if name == "logs":
            command.add_argument("--follow", action="store_true", help="to its end; then its exit code")
        if name == "fetch":
            command.add_argument("--to", metavar="DIR", help="the folder (runs/<study>)")


def _with_address(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument(
        "--address", metavar="URL", help="the job server (RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265)"
    )
    return command


def _submit(options: argparse.Namespace) -> int:
    from cluster.submitting import prepare, submit, until_begun

    prepared = prepare(
        options.spec,
        options.set,
        working_dir=options.working_dir,
        retries=options.retries,
        timeout=options.timeout,
        runs=options.runs,
    )
    if options.dry_run:
        print(json.dumps(prepared.request, indent=2))
        return 0
    head = _head(options)
    id = submit(prepared, head)
    until_begun(head, id, options.timeout)
    if options.follow:
        return _follow(head, id)
    print(
        f"`pqsearch logs {id} --follow` shows it, `pqsearch stop {id}` ends it, `pqsearch fetch {id}` brings its results"
    )
    return 0


def _jobs(options: argparse.Namespace) -> int:
    jobs = _head(options).jobs()
    if options.json:
        for job in jobs:
            print(json.dumps({"id": job.id, "study": job.study, "status": job.status, "started": job.started,
                              "ended": job.ended, "exit_code": job.exit_code}))  # fmt: skip
        return 0
    width = max((len(job.id) for job in jobs), default=0)
    for job in jobs:
        print(f"{job.id:{width}}  {job_words(job)}")
    if not jobs:
        print("no study was submitted to this cluster")
    return 0


def _status(options: argparse.Namespace) -> int:
    head = _head(options)
    return _say(head, head.job(options.id))


def _logs(options: argparse.Namespace) -> int:
    head = _head(options)
    job = head.job(options.id)
    if options.follow:
        return _follow(head, job.id)
    print(head.logs(job.id), end="")
    return 0


def _stop(options: argparse.Namespace) -> int:
    from pqsearch.errors import SearchAborted

    head = _head(options)
    job = head.job(options.id)
    if not job.over:
        head.stop(job.id)
        deadline = time.monotonic() + STOP_SECONDS
        while not (job := head.job(job.id)).over:
            if time.monotonic() >= deadline:
                raise SearchAborted(
                    f"{job.id} has not stopped after {STOP_SECONDS:g} seconds; `pqsearch status` shows it"
                )
            time.sleep(POLL_SECONDS)
    return _say(head, job)


def _fetch(options: argparse.Namespace) -> int:
    from cluster.fetching import fetch

    folder, files, size = fetch(_head(options), options.id, options.to)
    print(f"{folder}: {files} files, {size / 2**20:.1f} MiB; `pqsearch show {folder}` says what was found")
    return 0


def _head(options: argparse.Namespace) -> Head:
    from cluster.head import Head

    return Head(options.address)


def _say(head: Head, job: Job) -> int:
    """Print how a job is doing, and the last line of its own."""
    from cluster.head import own_lines

    print(f"{job.id}: {job_words(job)}")
    lines = own_lines(head.logs(job.id))
    if lines:
        print(lines[-1])
    return 0


def _follow(head: Head, id: str) -> int:
    """Print what a job prints, to its end; the exit code is the job's."""
    shown = 0
    while True:
        job = head.job(id)  # before its log: what it prints last is not missed
        log = head.logs(id)
        print(log[shown:], end="", flush=True)
        shown = len(log)
        if job.over:
            break
        time.sleep(POLL_SECONDS)
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        return 130
    return job.exit_code if job.exit_code in (1, 2, 130) else 1


def job_words(job: Job) -> str:
    """How a job is doing, in a line."""
    words = [job.status.lower()]
    if job.started is not None:
        words.append(f"since {datetime.fromtimestamp(job.started).isoformat(' ', 'seconds')}")
    if job.ended is not None:
        words.append(f"until {datetime.fromtimestamp(job.ended).isoformat(' ', 'seconds')}")
    if job.exit_code:
        words.append(f"exit code {job.exit_code}")
    if job.status == "PENDING" and job.message:
        words.append(job.message)
    return ", ".join(words)
