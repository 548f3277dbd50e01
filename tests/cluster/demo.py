"""A cluster of three nodes on this machine, a search submitted to it, and a node that dies: `make cluster-demo`.

    python -m tests.cluster.demo [SPEC] [--to FOLDER]

Everything that it starts it ends. The results are in FOLDER (`runs/cluster-demo-<time>`).
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.ledger import Ledger
from tests.long.ray_head import ROOT, Node, RayHead

#: Measurements after which a node dies, and seconds between two looks.
KILL_AFTER, LOOK_SECONDS = 60, 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", default="examples/digits.toml", help="for two workers of one CPU each")
    parser.add_argument("--to", default=f"runs/cluster-demo-{time.strftime('%Y%m%d-%H%M%S')}", help="for the results")
    options = parser.parse_args()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as (head, node):
        print(f"three nodes of one CPU each; job server {head.address}")
        id = _show(head, "submit", options.spec).split(":", 1)[0]
        ledger = _kill_midway(head, id, node)
        while _status(head, id) in ("PENDING", "RUNNING"):
            time.sleep(LOOK_SECONDS)
            ledger.look()
        ledger.look()
        _show(head, "status", id)
        _show(head, "logs", id, last=20)
        _show(head, "fetch", id, "--to", options.to)
        ended_well = _status(head, id) == "SUCCEEDED"
    subprocess.run([sys.executable, "-m", "pqsearch", "show", options.to], cwd=ROOT, check=True)
    print(
        f"{len(ledger.acknowledged)} measurements, {len(ledger.lost)} lost, {len(ledger.twice)} paid for twice; "
        f"all that was started has ended, after {time.monotonic() - began:.0f} s"
    )
    return 0 if ended_well and not ledger.lost and not ledger.twice else 1


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[RayHead, Node]]:
    """Three nodes, and the one of them that may be killed."""
    with RayHead(folder, cpus=1) as head, head.another_node(), head.another_node() as node:
        yield head, node


def _kill_midway(head: RayHead, id: str, node: Node) -> Ledger:
    """Wait until enough is measured, show what a user would look at, and kill a node."""
    while not (found := list((head.home / "pqsearch" / "runs").glob("*/journal.jsonl"))):
        _must_run(head, id)
    ledger = Ledger(found[0].parent)
    while not ledger.sees(KILL_AFTER):
        _must_run(head, id)
    _show(head, "jobs")
    _show(head, "status", id)
    node.kill()
    print(f"\none of three nodes was killed, after {len(ledger.acknowledged)} measurements")
    return ledger


def _must_run(head: RayHead, id: str) -> None:
    if _status(head, id) not in ("PENDING", "RUNNING"):
        sys.exit(_show(head, "logs", id, last=20))
    time.sleep(LOOK_SECONDS)


def _status(head: RayHead, id: str) -> str:
    jobs = map(json.loads, head.command("jobs", "--json", cwd=ROOT).stdout.splitlines())
    return next(str(job["status"]) for job in jobs if job["id"] == id)


def _show(head: RayHead, *arguments: str, last: int | None = None) -> str:
    """Run a command as a user would, and print its last lines; returns all that it printed."""
    print(f"\n$ pqsearch {' '.join(arguments)}")
    done = head.command(*arguments, cwd=ROOT)
    text = done.stdout + done.stderr
    print("\n".join(text.splitlines()[-last if last else None :]), flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return text


if __name__ == "__main__":
    sys.exit(main())
