"""The question the other way round: the smallest network that loses little enough, found by moving the budget.

A search for a target begins with plans down a ladder of limits, from the dearest to near the cheapest. Then a forecast
(`pqsearch.forecast`), fitted anew to everything measured so far, says at which limit the best plan just clears the allowed
drop; the budget moves there, the forecast's plan is measured and the algorithm searches on under the new limit, until enough
results are in to move again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pqsearch.algorithms._integer_program import least_damage
from pqsearch.drop import ONE_SIDED, Drop
from pqsearch.forecast import Expected, forecast_of
from pqsearch.problem import Algorithm, Genes, Prior, Proposal, uniform_genes
from pqsearch.study_state import StudyState
from search_spaces.space import Space

#: Rungs of the ladder below the dearest plan, and every which of them gets a uniform plan too.
LADDER = 7
UNIFORM_EVERY = 2
#: Halvings of the range of limits, by ratio, that find the next one.
HALVINGS = 6
#: By which share a plan would have to be smaller to be worth going on for.
WORTHWHILE = 0.03


@dataclass(frozen=True)
class Move:
    """The next limit, and the plan that is expected to do best under it."""

    limit: float
    genes: Genes


class Target:
    """Moves the budget on `minimize` until the drop, in points, is just below `max_drop`.

    `at(limit)` is the space under that limit; `low` and `high` are the least and the most that plans can cost. Decides from a
    study's state alone, and the study writes down what was decided, so that a search is continued as it would have gone on.
    """

    def __init__(
        self,
        max_drop: float,
        minimize: str,
        at: Callable[[float], Space],
        algorithm: Callable[[Space], Algorithm],
        low: float,
        high: float,
    ) -> None:
        self.max_drop, self.minimize, self.low, self.high = max_drop, minimize, low, high
        self.at = lru_cache(maxsize=32)(at)
        self._algorithm = algorithm
        self._decided: dict[tuple[int, int, bool], Move | str | None] = {}

    @property
    def start(self) -> Space:
        """Where the budget is before it has moved."""
        return self.at(self.high)

    def algorithm(self, prior: Prior | None, limit: float) -> Algorithm:
        """A search algorithm for the space under a limit."""
        return self._algorithm(self.at(limit).with_prior(prior))

    def seeds(self) -> list[Proposal]:
        """The dearest plan, which says whether the drop can be held at all, and uniform plans down the ladder."""
        space = self.start
        dearest = space.repair(np.asarray(space.levels, dtype=np.int64)[None] - 1)[0]
        found = [Proposal(tuple(dearest.tolist()), {"role": "dearest"}, exact=True)]
        for limit in self._ladder()[::UNIFORM_EVERY]:
            plans = uniform_genes(self.at(limit))
            if len(plans):
                found.append(Proposal(tuple(plans[0].tolist()), {"role": "uniform"}, exact=True))
        return found

    def ladder(self, prior: Prior | None) -> list[Proposal]:
        """The plan of least expected damage at each limit of the ladder; without a prior the dearest one brought under it."""
        plans = []
        for limit in self._ladder():
            space = self.at(limit)
            if prior is None:
                plans.append(space.repair(np.asarray(space.levels, dtype=np.int64)[None] - 1)[0])
            else:
                plans.append(least_damage(space, prior)[0])
        return [Proposal(tuple(plan.tolist()), {"role": "ladder"}, exact=True) for plan in plans]

    def next(self, state: StudyState) -> Move | str | None:
        """Where the budget goes, or why the search is over; None where too little was measured to say."""
        measured = sum(len(candidate.measurements) for candidate in state.by_id.values())
        # Without news the answer is the one before last: an algorithm that runs dry at every limit asks again and again.
        key = (state.done, measured, len(state.moves) % 2 == 1)
        if key not in self._decided:
            self._decided = {known: move for known, move in self._decided.items() if known[:2] == key[:2]}
            self._decided[key] = self._next(state)
        return self._decided[key]

    def _next(self, state: StudyState) -> Move | str | None:
        if self.infeasible(state):
            return "target infeasible"
        forecast = forecast_of(self.start.levels, state.prior, state.candidates())
        reference = _reference(state)
        if forecast is None or reference is None:
            return None
        held = self.held(state)
        top = self.high if held is None else min(self.high, held * (1 - WORTHWHILE))
        if held is not None and top <= self.low:
            return "target settled"
        best = forecast.best(self.at(top))
        if held is not None and 100 * (reference - best.high) > self.max_drop:
            return "target settled"
        # In turn what is expected, with room for the interval that has to clear, and what may well be possible.
        hopeful = len(state.moves) % 2 == 1
        needed = reference - self.max_drop / 100 + (0 if hopeful else ONE_SIDED * self._error(state) / 100)

        def clears(expected: Expected) -> bool:
            return ((expected.accuracy + expected.high) / 2 if hopeful else expected.accuracy) >= needed

        low, high = self.low, top
        for _ in range(HALVINGS):
            middle = float((low * high) ** 0.5)
            found = forecast.best(self.at(middle))
            if clears(found):
                high, best = middle, found
            else:
                low = middle
        return Move(high, best.genes)

    def held(self, state: StudyState) -> float | None:
        """The cost of the smallest plan that holds the drop, None while there is none."""
        return min((self._cost(state, id) for id in _drops(state) if state.holds(id)), default=None)

    def doubtful(self, state: StudyState) -> int | None:
        """The smallest plan that clears the drop and is smaller than any that holds it, to be measured again; one at a time."""
        held = self.held(state)
        found = [
            (self._cost(state, id), id)
            for id in _drops(state)
            if state.clears(id)
            and (held is None or self._cost(state, id) < held)
            and (id not in state.doubted or state.repeating(id))
        ]
        _, id = min(found, default=(0.0, None))
        return None if id in state.doubted else id

    def _cost(self, state: StudyState, id: int) -> float:
        return state.by_id[id].costs[self.minimize]

    def infeasible(self, state: StudyState) -> bool:
        """Whether every plan so far, the dearest among them, has surely lost too much."""
        drops = _drops(state)
        tried = any(state.by_id[id].role == "dearest" for id in drops)
        return tried and all(drop.low > self.max_drop for drop in drops.values())

    def _ladder(self) -> list[float]:
        """Limits by equal ratios, the dearest and the very cheapest left out."""
        ratio = self.low / self.high
        return [self.high * ratio ** (step / (LADDER + 1)) for step in range(1, LADDER + 1)]

    def _error(self, state: StudyState) -> float:
        """The standard error of the drop nearest to the limit, in points."""
        nearest = min(_drops(state).values(), key=lambda drop: abs(drop.value - self.max_drop))
        return nearest.standard_error


def _drops(state: StudyState) -> dict[int, Drop]:
    """The drop of each evaluated plan."""
    return {
        id: drop
        for id, candidate in state.by_id.items()
        if candidate.state == "done" and (drop := state.drop(id)) is not None
    }


def _reference(state: StudyState) -> float | None:
    """The baseline's accuracy on the scoring slice, as the plans' comparisons with it say."""
    for candidate in state.by_id.values():
        for row in candidate.measurements:
            if row.get("lost") is not None:
                return float(row["accuracy"] + (row["lost"] - row["gained"]) / row["images"])
    return None
