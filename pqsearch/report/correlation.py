"""How well a cheap ranking says what a dearer one will be: each rung with the next, the proxy with the full fine-tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: With fewer plans a rank correlation says nothing.
FEWEST = 8
#: Draws of a bootstrap, and how many of them are compared at once: the pairs of each are a matrix.
RESAMPLES, AT_ONCE = 2000, 100
#: Plans of a draw at most. Over more plans the interval is the wider one of so many: it is narrow enough.
MOST_DRAWN = 200
#: A perfect ranking, but for rounding.
PERFECT = 1 - 1e-9


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Kendall's tau-b of pairs with its 95 % interval `low` to `high`, and how many `plans` there were.

    `tau` is None with fewer than 8 plans and where there is no ranking; then `why` says so.
    """
    found: dict[str, Any] = {"tau": None, "low": None, "high": None, "plans": len(pairs), "why": None}
    if len(pairs) < FEWEST:
        return {**found, "why": f"{len(pairs)} {'plan' if len(pairs) == 1 else 'plans'}, it needs {FEWEST}"}
    x, y = np.array(pairs, dtype=np.float64).T
    if x.min() == x.max() or y.min() == y.max():
        return {**found, "why": "all plans are equal there"}
    from scipy.stats import kendalltau  # half a second, which a report has and a search that starts does not

    tau = float(kendalltau(x, y, method="asymptotic").statistic)
    low, high = interval(x, y, tau)
    return {**found, "tau": tau, "low": low, "high": high}


def interval(x: NDArray[np.float64], y: NDArray[np.float64], tau: float) -> tuple[float, float]:
    """The 95 % interval of `tau`, Kendall's tau-b of x (plans,) and y (plans,): percentiles of a bootstrap with a fixed seed.

    Resampling a perfect ranking gives it again: there one pair of neighbours is turned first, as a plan more might have done.
    """
    from scipy.stats import rankdata

    if abs(tau) >= PERFECT:
        order = np.argsort(x, kind="stable")
        place = next(place for place in range(1, len(x)) if x[order[place - 1]] != x[order[place]])
        turned, y = order[[place, place - 1]], y.copy()
        y[order[[place - 1, place]]] = y[turned]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(x), (RESAMPLES, min(len(x), MOST_DRAWN)))
    ranks = np.stack([rankdata(x, "dense"), rankdata(y, "dense")]).astype(np.int32)
    taus = [_taus(*ranks[:, drawn[start : start + AT_ONCE]]) for start in range(0, RESAMPLES, AT_ONCE)]
    low, high = np.quantile(np.concatenate(taus), (0.025, 0.975))
    return min(float(low), tau), max(float(high), tau)


def _taus(x: NDArray[np.int32], y: NDArray[np.int32]) -> NDArray[np.float64]:
    """Tau-b of each row of ranks (draws, plans); 0 where there is no ranking, which then says nothing."""
    above_x, above_y = (np.sign(values[:, :, None] - values[:, None, :]).astype(np.int8) for values in (x, y))
    agree = (above_x * above_y).sum((1, 2), dtype=np.int64)
    untied = np.sqrt(np.abs(above_x).sum((1, 2), dtype=np.float64) * np.abs(above_y).sum((1, 2), dtype=np.float64))
    return np.divide(agree, untied, out=np.zeros(len(x)), where=untied > 0)


def rung_pairs(candidates: Sequence[Mapping[str, Any]], rung: int) -> list[tuple[float, float]]:
    """Accuracies at a rung and at the next, of every candidate that did both."""
    pairs = []
    for row in candidates:
        at = {entry["rung"]: entry["accuracy"] for entry in row.get("measurements", ()) if entry["repeat"] == 0}
        if at.get(rung) is not None and at.get(rung + 1) is not None:
            pairs.append((at[rung], at[rung + 1]))
    return pairs


def rung_correlations(candidates: Sequence[Mapping[str, Any]], rungs: int) -> list[dict[str, Any]]:
    """Of accuracies between each of `rungs` rungs and the next, as `rank_correlation` gives them."""
    return [
        {"rung": rung, "next": rung + 1, **rank_correlation(rung_pairs(candidates, rung))} for rung in range(rungs - 1)
    ]


def final_correlations(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of proxy scores (minimised) with accuracies after the full fine-tune: on the `select` slice and on the `test` images.

    Rows have `score`, `select_accuracy` and `test_accuracy`. A positive tau means that the better score ends higher.
    """
    return {
        part: rank_correlation([(-row["score"], row[f"{part}_accuracy"]) for row in rows])
        for part in ("select", "test")
    }
