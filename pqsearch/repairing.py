"""What is whole of a damaged journal, saved: all that stands before the first line that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError, writing
from pqsearch.journal.record import Event, event_of
from pqsearch.run_dir import RunDirectory, write_atomically


def repair(
    run_dir: str | Path, out: str | Path | None = None, *, in_place: bool = False, wait_seconds: float = 10.0
) -> dict[str, Any]:
    """Save the events before the first damaged line of a run's journal into `out`, a new file; the journal itself is not touched.

    `out` is `journal-repaired.jsonl` in the run directory unless given. With `in_place` the journal is replaced instead, in one
    step; the damaged one stays, as `aside`. What follows a damaged line cannot be kept, since it may build on what was there.

    Returns `journal`, `damaged` (the first damaged line counted from 1; None: all are whole, and nothing is written), `unreadable`
    (how many damaged lines there are), `events` and `evaluations`, each with `kept` and `lost`, and `out` or `aside`. Evaluations
    that stood in damaged lines cannot be counted. Raises `UserError` when another process holds the journal
    for longer than `wait_seconds`.
    """
    run = RunDirectory.existing(run_dir)
    if not run.journal.exists():
        raise UserError(f"{run.path}: no search has begun, there is no journal to repair; `pqsearch search` begins one")
    target = Path(out) if out is not None else run.path / "journal-repaired.jsonl"
    with run.journal.held(wait_seconds) as journal:
        found = journal.read()
        answer: dict[str, Any] = {"journal": str(run.journal), "damaged": found.damaged}
        kept = len(found.events)
        with journal.lines() as lines:
            rest = [event_of(line) for line in islice(lines, kept, None)] if found.damaged is not None else []
        readable = [event for event in rest if event is not None]
        last = _last_rung([*found.events, *readable])
        done, lost = _evaluations(found.events, last), _evaluations(readable, last)
        answer |= {
            "unreadable": len(rest) - len(readable),
            "events": {"kept": kept, "lost": len(rest)},
            "evaluations": {"kept": len(done), "lost": len(lost - done)},
        }
        if found.damaged is None:
            return answer
        if in_place:
            return {**answer, "aside": journal.set_aside(kept)}
        if target.exists():
            raise UserError(f"{target}: exists already; name another file with --out")
        with writing(f"--out {target}"), journal.lines() as lines:
            write_atomically(target, b"".join(islice(lines, kept)))
    return {**answer, "out": str(target)}


def _last_rung(events: Iterable[Event]) -> int:
    return next((event["settings"]["rungs"] for event in events if event["type"] == "opened"), 1) - 1


def _evaluations(events: Iterable[Event], last: int) -> set[tuple[int, int]]:
    """Candidates and repeats whose last rung was reported."""
    return {(event["id"], event["repeat"]) for event in events if event["type"] == "reported" and event["rung"] == last}
