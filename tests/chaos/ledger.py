"""What a search has acknowledged and what its workers began: nothing may get lost, and nothing be begun once more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pqsearch.journal.file import read_events

#: Candidate, rung, repeat; a probe has a negative candidate.
Key = tuple[int, int, int]


class Ledger:
    """Compares each look at a run directory with the one before."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.acknowledged: set[Key] = set()
        self._begun: Counter[Key] = Counter()
        self.lost: set[Key] = set()
        self.twice: set[Key] = set()

    def look(self) -> None:
        """Take note of what is there now; what was there before and is not, or was paid for again, is noted for good."""
        results = acknowledged(self._run)
        # After the journal: what begins between the two looks was not acknowledged at the first.
        begun = Counter(started(self._run))
        self.lost |= self.acknowledged - results.keys()
        self.twice |= {key for key, number in results.items() if number > 1}
        self.twice |= {key for key in self.acknowledged if begun[key] > self._begun[key]}
        self.acknowledged, self._begun = set(results), begun

    def sees(self, least: int) -> bool:
        """Whether, at another look, so many measurements are acknowledged."""
        self.look()
        return len(self.acknowledged) >= least


def acknowledged(run: Path) -> Counter[Key]:
    """Measurements in the journal."""
    journal = run / "journal.jsonl"
    if not journal.is_file():
        return Counter()
    return Counter(
        (event["id"], event.get("rung", 0), event["repeat"])
        for event in read_events(journal)
        if event["type"] in ("reported", "probed")
    )


def started(run: Path) -> list[Key]:
    """What workers wrote down as they began it, without what they say is done once more for what follows it."""
    return [(row["id"], row["rung"], row["repeat"]) for row in _rows(run) if "recomputed" not in row]


def recomputed(run: Path) -> list[Key]:
    """What workers began once more because its weights were gone."""
    return [(row["id"], row["rung"], row["repeat"]) for row in _rows(run) if "recomputed" in row]


def pids(run: Path) -> list[int]:
    """Processes of workers that have begun something."""
    return [row["pid"] for row in _rows(run)]


def begun_by(run: Path, pids: Collection[int]) -> set[Key]:
    """What these processes began."""
    return {(row["id"], row["rung"], row["repeat"]) for row in _rows(run) if row["pid"] in pids}


def held_at_an_end(run: Path) -> set[Key]:
    """What workers held when they ended, in a search of one rung."""
    return {
        (event["id"], 0, event["repeat"]) for event in read_events(run / "journal.jsonl") if event["type"] == "died"
    }


def _rows(run: Path) -> list[dict[str, Any]]:
    files = (run / "logs").glob("started-*.jsonl")
    lines = [line for path in files for line in path.read_text().splitlines(keepends=True)]
    # One without its end is being written: what it says has not begun.
    return [json.loads(line) for line in lines if line.endswith("\n")]
