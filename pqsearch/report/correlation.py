"""How well one rung's ranking says what the next one's will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import kendalltau

#: With fewer plans a rank correlation says nothing.
FEWEST = 8


def rung_correlations(candidates: Sequence[Mapping[str, Any]], rungs: int) -> list[dict[str, Any]]:
    """Kendall's tau-b of accuracies between each rung and the next; tau is None with fewer than 8 plans."""
    found = []
    for rung in range(rungs - 1):
        pairs = []
        for row in candidates:
            at = {entry["rung"]: entry["accuracy"] for entry in row["measurements"] if entry["repeat"] == 0}
            if rung in at and rung + 1 in at:
                pairs.append((at[rung], at[rung + 1]))
        tau = None
        if len(pairs) >= FEWEST:
            value = float(kendalltau([a for a, _ in pairs], [b for _, b in pairs]).statistic)
            tau = None if value != value else value  # all equal: there is no ranking
        found.append({"rung": rung, "next": rung + 1, "tau": tau, "plans": len(pairs)})
    return found
