"""What disks do to a journal while nobody has it open; each returns what was not as it must be."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pqsearch
from pqsearch.journal.file import Journal
from pqsearch.journal.record import event_of, line_of


def tear(spec: Path, run: Path, rng: random.Random) -> list[str]:
    """One more event, of which only the first bytes reached the disk: however many, it is dropped and nothing else is. Some
    of them stay for the next start.
    """
    path, copy = run / "journal.jsonl", run.parent / "journal-torn.jsonl"
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    last = event_of(lines[-1])
    assert last is not None
    whole, following = b"".join(lines), line_of({**last, "seq": len(lines)})
    complaints = []
    for cut in range(1, len(following)):
        copy.write_bytes(whole + following[:cut])
        journal, events, torn = Journal.open(copy, time.time)
        journal.close()
        if not torn or len(events) != len(lines) or not copy.read_bytes().startswith(whole):
            complaints.append(
                f"torn after {cut} bytes of its last event: {len(events)} of {len(lines)} events are read"
            )
    copy.unlink()
    path.write_bytes(whole + following[: rng.randrange(1, len(following))])
    return complaints


def flip(spec: Path, run: Path, rng: random.Random) -> list[str]:
    """One bit of a line before the last one: the next start refuses and names the line, `repair` saves what stands before it,
    and once the file is back from a backup nothing is missing.
    """
    path, saved = run / "journal.jsonl", run.parent / "journal-saved.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = rng.randrange(1, len(lines) - 1)
    hurt = bytearray(lines[number - 1])
    hurt[rng.randrange(len(hurt) - 1)] ^= 1
    path.write_bytes(b"".join([*lines[: number - 1], bytes(hurt), *lines[number:]]))
    start = subprocess.run(
        [sys.executable, "-m", "pqsearch", "search", str(spec)], capture_output=True, text=True, check=False
    )
    complaints = []
    said = f"{path}: line {number} is damaged"
    if start.returncode != 2 or said not in start.stderr or "Traceback" in start.stderr:
        complaints.append(f"a bit of line {number} flipped: exit code {start.returncode}, {start.stderr[-200:]!r}")
    pqsearch.repair(run, saved)
    if saved.read_bytes() != b"".join(lines[: number - 1]):
        complaints.append(f"a bit of line {number} flipped: repair saves something else than what stands before it")
    saved.unlink()
    path.write_bytes(b"".join(lines))
    return complaints
