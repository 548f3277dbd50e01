"""How well one rung's ranking says what the next one's will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import kendalltau

#: With fewer plans a rank correlation says nothing.
FEWEST = 8


def rung_pairs(candidates: Sequence[Mapping[str, Any]], rung: int) -> list[tuple[float, float]]:
    """Accuracies at a rung and at the next, of every candidate that did both."""
    pairs = []
    for row in candidates:
        at = {entry["rung"]: entry["accuracy"] for entry in row.get("measurements", ()) if entry["repeat"] == 0}
        if at.get(rung) is not None and at.get(rung + 1) is not None:
            pairs.append((at[rung], at[rung + 1]))
    return pairs


def rung_correlations(candidates: Sequence[Mapping[str, Any]], rungs: int) -> list[dict[str, Any]]:
    """Kendall's tau-b of accuracies between each rung and the next; tau is None with fewer than 8 plans."""
    found = []
    for rung in range(rungs - 1):
        pairs = rung_pairs(candidates, rung)
        tau = None
        if len(pairs) >= FEWEST:
            value = float(kendalltau([a for a, _ in pairs], [b for _, b in pairs]).statistic)
            tau = None if value != value else value  # all equal: there is no ranking
        found.append({"rung": rung, "next": rung + 1, "tau": tau, "plans": len(pairs)})
    return found
