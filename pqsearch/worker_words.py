"""Worker hours and what they cost, in words. Costs are in the unit of `[workers] price`, whatever that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def amount(value: float) -> str:
    """Two digits behind the point, or the first two that are not zero."""
    return f"{value:,.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def cost_short(found: Mapping[str, Any]) -> str:
    """A few words for one line of a console; empty without a price."""
    if found["cost"] is None:
        return ""
    return f"cost {amount(found['cost'])} ({amount(found['total'])} worker hours)"


def worker_sentences(found: Mapping[str, Any]) -> list[str]:
    """What was used and paid so far, and what is counted; `found` is what `pqsearch.worker_time` gives."""
    price = f", which cost {amount(found['cost'])} at {found['price']:g} each" if found["cost"] is not None else ""
    return [
        f"{amount(found['total'])} worker hours{price}: {amount(found['search'])} in evaluations, "
        f"{amount(found['finetune'])} in full fine-tunes.",
        "Counted is what those that came to an end took by their own clocks: not the baseline's training, not what failed or was "
        "cut off, not the time that workers waited or started.",
    ]


def estimate_line(seconds: float, price: float | None) -> str:
    """What a run is expected to use and to cost."""
    hours = seconds / 3600
    cost = f", which will cost {amount(hours * price)} at {price:g} each" if price is not None else ""
    return f"about {amount(hours)} worker hours in evaluations and full fine-tunes{cost}"
