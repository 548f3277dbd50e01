"""What a run's evaluations say of plans that nobody has measured: a fitted surrogate, and the best plan by it.

The surrogate is that of `surrogate_exchange` over the log-odds of accuracy, in which harm adds up. The plan is the integer
program's (`_integer_program`) over what each single level is expected to change around the best plan so far, solved again
around every better plan that it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pqsearch.algorithms._integer_program import least_damage
from pqsearch.algorithms._surrogate import MOST_FITTED, Kernel, Surrogate
from pqsearch.problem import FloatArray, Genes, IntArray, Prior, Problem

#: Evaluated plans without which a forecast would be the prior's alone.
FEWEST = 8
#: Evaluated plans that are brought under the budgets as starts.
STARTS = 12
#: Rounds of the integer program, each around the best plan of the last one.
ROUNDS = 6
#: Where plans stop to count as worse, in distances between the best and the middle one of those surely behind it.
LIMIT = 3.0
#: Standard deviations of an interval that holds 95 of 100 normal values.
WIDTH = 1.96
#: Standard deviations that uncertainty counts against a plan: the one whose interval begins highest is chosen.
CAUTION = WIDTH


@dataclass(frozen=True)
class Expected:
    """A plan's proxy accuracy as far as it can be told: `low` to `high` hold it with 95 % if the surrogate is right."""

    genes: Genes
    accuracy: float
    low: float
    high: float


class Forecast:
    """Fitted to genes (plans, knobs) and right answers (plans,) of `images` images, means of one measurement or more."""

    def __init__(
        self, levels: Sequence[int], prior: Prior | None, genes: IntArray, accuracies: FloatArray, images: int
    ) -> None:
        self._genes, self._images = genes, images
        kernel = Kernel(np.asarray(levels, dtype=np.int64), prior)
        targets = -self._log_odds(accuracies)
        targets = np.minimum(targets, self._worst(targets, float(accuracies.max())))
        some = np.unique(np.linspace(0, len(genes) - 1, min(len(genes), MOST_FITTED)).round().astype(np.int64))
        self._surrogate = Surrogate(kernel, genes, targets, Surrogate(kernel, genes[some], targets[some]).hyper)

    def _worst(self, targets: FloatArray, best: float) -> float:
        """Where targets are cut off: how bad the bad ones are would drown what sets the good ones apart."""
        low, right = float(targets.min()), best * self._images + 0.5
        # Where most plans do as well as the best, they say nothing of how far apart plans are.
        error = (1 / right + 1 / (self._images + 1 - right)) ** 0.5
        behind = targets[targets > low + error]
        return low + LIMIT * (float(np.median(behind)) - low) if len(behind) else float(targets.max())

    def expect(self, genes: IntArray) -> list[Expected]:
        """What plans (plans, knobs) may be worth."""
        mean, deviation = self._surrogate.predict(genes)
        rows = zip(
            genes.tolist(),
            *map(self._accuracy, (mean, mean + WIDTH * deviation, mean - WIDTH * deviation)),
            strict=True,
        )
        return [Expected(tuple(row), float(value), float(low), float(high)) for row, value, low, high in rows]

    def best(self, problem: Problem) -> Expected:
        """The plan of highest expected accuracy under a problem's budgets; the same knobs and levels, other limits."""
        known = self._genes[np.argsort(self._surrogate.fitted, kind="stable")[:STARTS]]
        plans = problem.repair(known)
        values = self._cautious(plans)
        best, value = plans[int(np.argmin(values))], float(values.min())
        for _ in range(ROUNDS):
            plans = least_damage(problem, self._changes(problem.levels, best), best)
            values = self._cautious(plans)
            if values.min() >= value:
                break
            best, value = plans[int(np.argmin(values))], float(values.min())
        (found,) = self.expect(best[None])
        return found

    def _changes(self, levels: Sequence[int], around: IntArray) -> Prior:
        """What each level of each knob is expected to change when the others stay as they are."""
        counts = np.asarray(levels, dtype=np.int64)
        knobs = np.repeat(np.arange(len(counts)), counts)
        rungs = np.concatenate([np.arange(count) for count in counts])
        moved = np.tile(around, (len(knobs), 1))
        moved[np.arange(len(knobs)), knobs] = rungs
        return [part.tolist() for part in np.split(self._cautious(moved), np.cumsum(counts)[:-1])]

    def _cautious(self, genes: IntArray) -> FloatArray:
        """Values (plans,), the worse the less is known: the best of many means is too good to be true."""
        mean, deviation = self._surrogate.predict(genes)
        return mean + CAUTION * deviation

    def _log_odds(self, accuracies: FloatArray) -> FloatArray:
        """Half an image more on either side, so that all and none are finite."""
        right = accuracies * self._images + 0.5
        return np.asarray(np.log(right / (self._images + 1 - right)), dtype=np.float64)

    def _accuracy(self, targets: FloatArray) -> FloatArray:
        odds = np.exp(-targets)
        return np.asarray(odds / (1 + odds), dtype=np.float64)


def forecast_of(levels: Sequence[int], prior: Prior | None, rows: Sequence[Mapping[str, Any]]) -> Forecast | None:
    """From a study's rows of evaluated plans; None where they are too few."""
    done = [row for row in rows if row["state"] == "done"]
    if len(done) < FEWEST:
        return None
    return Forecast(
        levels,
        prior,
        np.array([row["genes"] for row in done], dtype=np.int64),
        np.array([float(np.mean(row["repeats"])) for row in done]),
        done[0]["images"],
    )
