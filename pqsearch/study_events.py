"""The events that a study writes into its journal, and the check that a journal belongs to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pqsearch.errors import UserError
from pqsearch.journal.record import Event
from pqsearch.plan import Result
from pqsearch.problem import Genes
from pqsearch.study_fold import Task


def asked(
    id: int, genes: Genes, memo: Mapping[str, Any], plan_hash: str, costs: Mapping[str, float], same_as: int | None
) -> Event:
    """A candidate was proposed; what its genes mean is in the last `opened`, so that a journal can be read without its problem.

    `same_as` is the candidate that had the same plan before: that one's results count for this one.
    """
    return {
        "type": "asked",
        "id": id,
        "genes": list(genes),
        "memo": memo,
        "plan_hash": plan_hash,
        "costs": costs,
        "same_as": same_as,
    }


def reported(seat: str, result: Result, task: Task) -> Event:
    """A rung was measured; one without finite numbers is a failure of its candidate."""
    if result.failure is not None or result.accuracy is None or result.loss is None:
        return failed(task, seat, result.failure or "no accuracy was measured")
    if not (math.isfinite(result.loss) and math.isfinite(result.accuracy.value)):
        return failed(task, seat, f"diverged: loss {result.loss}, accuracy {result.accuracy.value}")
    return {
        "type": "reported",
        "id": result.id,
        "repeat": result.repeat,
        "rung": result.rung,
        "accuracy": result.accuracy.value,
        "images": result.accuracy.images,
        "loss": result.loss,
        "seconds": {phase: round(value, 4) for phase, value in result.seconds.items()},
        "worker": seat,
        "weights": result.weights,
        **({} if result.accuracy.deviation is None else {"deviation": result.accuracy.deviation}),
        **({} if result.lost is None else {"lost": result.lost, "gained": result.gained}),
        **({} if result.squares is None else {"squares": result.squares}),
    }


def worker_died(task: Task, seat: str, reason: str, alone: bool) -> Event:
    """A worker ended while it held a task, alone or beside others."""
    return {"type": "died", "id": task.id, "repeat": task.repeat, "alone": alone, "worker": seat, "reason": reason}


def crowded(task: Task, seat: str, reason: str) -> Event:
    """A worker's share of a GPU was too small for a task: no fault of its own yet, it is tried once more with a whole one."""
    return {**worker_died(task, seat, reason, alone=False), "crowded": True}


def moved(limit: float, genes: Genes) -> Event:
    """A target moves its budget to `limit`; `genes` are the plan that is expected to do best there."""
    return {"type": "moved", "limit": limit, "genes": list(genes)}


def probed(seat: str, result: Result, task: Task) -> Event:
    """What was found out before there are candidates; without finite numbers it is a failure."""
    numbers = [*result.expected] if result.expected else [result.loss]
    if result.failure is not None or any(number is None or not math.isfinite(number) for number in numbers):
        return failed(task, seat, result.failure or "no finite number came of it")
    found: Event = {
        "type": "probed",
        "id": result.id,
        "repeat": result.repeat,
        "seconds": {phase: round(value, 4) for phase, value in result.seconds.items()},
        "worker": seat,
    }
    if result.expected:
        return {**found, "expected": list(result.expected)}
    assert result.accuracy is not None
    return {**found, "loss": result.loss, "accuracy": result.accuracy.value, "images": result.accuracy.images}


def failed(task: Task, seat: str, reason: str) -> Event:
    """A candidate, or one repeat of it, came to nothing."""
    return {"type": "failed", "id": task.id, "repeat": task.repeat, "rung": task.rung, "reason": reason, "worker": seat}


def check_fingerprint(where: str, events: Sequence[Event], wanted: Mapping[str, Any]) -> None:
    """Refuse a journal that was begun with another fingerprint; the `UserError` says what differs."""
    before: Mapping[str, Any] = next((event["fingerprint"] for event in events if event["type"] == "opened"), {})
    different = sorted(key for key in before.keys() | wanted.keys() if before.get(key) != wanted.get(key))
    if different:
        raise UserError(
            [
                f"{key}: the search in {where} was made with {before.get(key)!r}, this one has {wanted.get(key)!r}; "
                "use another study.run_dir"
                for key in different
            ]
        )
