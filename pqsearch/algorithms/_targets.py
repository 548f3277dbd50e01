"""What a surrogate learns of results: one number for each, whatever its rung and however many objectives it has."""

from __future__ import annotations

from itertools import product

import numpy as np

from pqsearch.problem import FloatArray, Genes, IntArray, Outcome

#: Steps from all for the score to none for it, by the number of objectives; with more than these there are two.
STEPS = {2: 8, 3: 4, 4: 3}
#: Share of the plain weighted sum beside the worst weighted objective (ParEGO's rho).
PLAIN_SUM = 0.05
#: Where results stop to count as worse, in distances between the best and the middle one.
LIMIT = 3.0
#: How much of their own order the results of lower rungs keep: that they fell behind says more than by how much.
LOWER_RUNGS = 0.3


class Results:
    """What was told, in the order of the candidates and not of the words; kept as arrays, so that one more costs little."""

    def __init__(self) -> None:
        self._ids: IntArray = np.empty(0, dtype=np.int64)
        self._rungs: IntArray = np.empty(0, dtype=np.int64)
        self._values: FloatArray = np.empty((0, 0))
        self._fresh: dict[int, Outcome] = {}
        self._genes: dict[int, IntArray] = {}

    def __len__(self) -> int:
        return len(self._genes)

    def add(self, id: int, genes: Genes, outcome: Outcome) -> None:
        """The word on a candidate that now counts."""
        self._fresh[id] = outcome
        self._genes[id] = np.array(genes, dtype=np.int64)

    def arrays(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Candidates (plans,), the rung of each, -1 for failures, and values (plans, objectives); not to be written to."""
        if self._fresh:
            self._sort_in()
        return self._ids, self._rungs, self._values

    def genes(self, ids: IntArray) -> IntArray:
        """Genes (plans, knobs) of candidates."""
        return np.concatenate([self._genes[id] for id in ids.tolist()]).reshape(len(ids), -1)

    def _sort_in(self) -> None:
        ids = np.array(sorted(self._fresh), dtype=np.int64)
        outcomes = [self._fresh[id] for id in ids.tolist()]
        objectives = max(self._values.shape[1], *(len(outcome.values) for outcome in outcomes))
        values = np.zeros((len(ids), objectives))
        for row, outcome in zip(values, outcomes, strict=True):
            row[: len(outcome.values)] = outcome.values
        rungs = np.array([-1 if outcome.failed else outcome.rung for outcome in outcomes], dtype=np.int64)
        before = np.pad(self._values, ((0, 0), (0, objectives - self._values.shape[1])))
        places = np.searchsorted(self._ids, ids)
        known = np.isin(ids, self._ids[places[places < len(self._ids)]])
        before[places[known]], self._rungs[places[known]] = values[known], rungs[known]
        new, where = ~known, places[~known]
        self._ids = np.insert(self._ids, where, ids[new])
        self._rungs = np.insert(self._rungs, where, rungs[new])
        self._values = np.insert(before, where, values[new], axis=0)
        self._fresh = {}


def weightings(objectives: int) -> FloatArray:
    """How much each objective counts (weightings, objectives): evenly over the simplex, never nothing for the score.

    The first is all for the score.
    """
    if objectives < 2:
        return np.ones((1, 1))
    steps = STEPS.get(objectives, 2)
    costs = [row for row in product(range(steps), repeat=objectives - 1) if sum(row) < steps]
    return np.array([(steps - sum(row), *row) for row in sorted(costs, key=lambda row: (sum(row), row))]) / steps


def targets(rungs: IntArray, values: FloatArray, weights: FloatArray) -> FloatArray:
    """What the surrogate learns (plans,): values as they are, in units of the good half of the highest rung.

    Results far worse than that half count as the limit: how bad the bad ones are would drown what sets the good ones apart.
    Rungs share no scale, so each lower one lies behind the limit of the one above, and failures, of rung -1, behind all.
    """
    found = np.zeros(len(rungs))
    for place, rung in enumerate(np.unique(rungs)[::-1]):
        members = rungs == rung
        mine = _weighed(values[members], weights)
        low, middle = mine.min(), float(np.median(mine))
        unit = (middle - low) or float(np.ptp(mine)) or 1.0
        scaled = np.minimum((mine - low) / unit, LIMIT)
        found[members] = scaled if place == 0 else place * LIMIT + LOWER_RUNGS * scaled
    return found


def _weighed(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Values (plans, objectives) of one rung as one each: the worst weighted objective, each in units of its own range."""
    if len(weights) < 2:
        return values[:, 0] if values.shape[1] else np.zeros(len(values))
    shares = weights * (values - values.min(0)) / np.maximum(np.ptp(values, axis=0), 1e-12)
    return np.asarray(shares.max(1) + PLAIN_SUM * shares.sum(1), dtype=np.float64)


def lowest(found: FloatArray, number: int) -> IntArray:
    """Where the `number` lowest are, the earlier one of equals, in order of place."""
    if len(found) <= number:
        return np.arange(len(found))
    limit = np.partition(found, number - 1)[number - 1]
    below = np.flatnonzero(found < limit)
    return np.sort(np.concatenate([below, np.flatnonzero(found == limit)[: number - len(below)]]))
