"""What workers spent on a run: the seconds that evaluations and full fine-tunes really took, and what they cost."""

from __future__ import annotations

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
        study.worker_seconds if study is not None else 0.0,
        sum(result["seconds"] for result in run.finetuned()),
        price,
    )
