"""What plans are worth in a simulation: made up, or fitted to what a run has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.problem import FloatArray, IntArray
from pqsearch.simulator import Pace

#: Plans without which a run says too little to be fitted to.
FEWEST = 20
#: Weight of the prior that no level matters, in plans (ridge regression).
RIDGE = 1.0
#: What the made-up network loses where every knob is at its cheapest, and its accuracy before.
MOST_LOST, DEAREST = 0.6, 0.95


class MadeUp:
    """Every knob costs something of its own, the more the nearer it is to its cheapest level; costs add up."""

    images = 1000

    def __init__(self, levels: Sequence[int], seed: int) -> None:
        self._top = np.maximum(np.asarray(levels, dtype=np.int64) - 1, 1)
        worth = np.random.default_rng(seed).random(len(levels))
        self._worth = MOST_LOST * worth / worth.sum()

    def accuracies(self, genes: IntArray) -> FloatArray:
        lost: FloatArray = DEAREST - ((1 - genes / self._top) ** 2) @ self._worth
        return lost


class Fitted:
    """Ridge regression of the log-odds of accuracy on the level of every knob, each by itself."""

    def __init__(self, levels: Sequence[int], genes: IntArray, accuracies: FloatArray, images: int) -> None:
        self.images = images
        self._first = np.concatenate([[0], np.cumsum(levels)[:-1]])
        self._columns = int(np.sum(levels))
        right = accuracies * images + 0.5
        targets = np.log(right / (images + 1 - right))
        self._mean = float(targets.mean())
        shown = self._shown(genes)
        self._centre = shown.mean(0)
        shown = shown - self._centre
        gram = shown.T @ shown + RIDGE * np.eye(self._columns)
        self._weights = np.linalg.solve(gram, shown.T @ (targets - self._mean))

    def accuracies(self, genes: IntArray) -> FloatArray:
        odds = np.exp(self._mean + (self._shown(genes) - self._centre) @ self._weights)
        return np.asarray(odds / (1 + odds), dtype=np.float64)

    def _shown(self, genes: IntArray) -> FloatArray:
        """One column for every level of every knob, 1 where a plan has it."""
        shown = np.zeros((len(genes), self._columns))
        np.put_along_axis(shown, genes + self._first, 1.0, axis=1)
        return shown


def fitted(levels: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> Fitted:
    """From a run's candidates as rows. Raises `UserError` where they are too few."""
    done = [row for row in rows if row["state"] == "done"]
    if len(done) < FEWEST:
        raise UserError(f"--like: only {len(done)} plans are evaluated there, {FEWEST} are needed; leave it out")
    accuracies = np.array([float(np.mean(row["repeats"])) for row in done])
    return Fitted(levels, np.array([row["genes"] for row in done], dtype=np.int64), accuracies, done[0]["images"])


def pace_of(rows: Sequence[Mapping[str, Any]], rungs: int, noise: float | None) -> Pace:
    """How a run's evaluations went: its seconds by rung, and the share that failed."""
    seconds = [
        [sum(entry["seconds"].values()) for row in rows for entry in row["measurements"] if entry["rung"] == rung]
        for rung in range(rungs)
    ]
    ended = [row for row in rows if row["state"] in ("done", "failed", "stopped")]
    failures = sum(row["state"] == "failed" for row in ended) / max(1, len(ended)) / rungs
    return Pace(seconds, failures, **({} if noise is None else {"noise": noise}))
