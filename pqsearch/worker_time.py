"""What workers spent on a run: the seconds that evaluations and full fine-tunes really took, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pqsearch.run_dir import RunDirectory
from pqsearch.study_state import StudyState


def worker_time(search: float, finetune: float, price: float | None) -> dict[str, Any]:
    """Worker hours from seconds, and their `cost` at `price` per worker hour; None without a price."""
    total = (search + finetune) / 3600
    return {
        "search": search / 3600,
        "finetune": finetune / 3600,
        "total": total,
        "price": price,
        "cost": None if price is None else total * price,
    }


def worker_time_of(run: RunDirectory, study: StudyState | None, price: float | None) -> dict[str, Any]:
    """What a run has used so far. Of evaluations and fine-tunes those that came to an end: the others leave no seconds."""
    return worker_time(
        search_seconds(study) if study is not None else 0.0,
        sum(result["seconds"] for result in run.finetuned()),
        price,
    )


def search_seconds(study: StudyState) -> float:
    """Seconds of all measurements, of candidates and of what was found out before them."""
    answers = study.probing.answers.values() if study.probing is not None else ()
    probes = sum(sum(answer["seconds"].values()) for answer in answers if answer is not None)
    measured = (entry for candidate in study.by_id.values() for entry in candidate.measurements)
    return probes + sum(sum(entry["seconds"].values()) for entry in measured)


class Meter:
    """Seconds of the measurements in a journal that somebody else writes; every line is read once."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._offset = 0
        self._seconds = 0.0

    def seconds(self) -> float | None:
        """Up to the last whole line; None while there is no such file."""
        if not self._journal.is_file():
            return None
        with self._journal.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        for line in whole.splitlines():
            self._seconds += sum(json.loads(line).get("seconds", {}).values())
        self._offset += len(whole) + len(newline)
        return self._seconds
