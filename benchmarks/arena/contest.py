"""The frame of a contest: what a contender may ask, what it is charged for, and which plan it would hand over.

A contender is charged for every distinct plan that holds the budgets, once: the service caches plans too. A plan over a
budget is never trained, because costs are analytic; it gets a value worse than that of the cheapest plan, the worse the
further it is over. Such plans are free, up to `FREE` times the evaluations, then they are charged like others.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pqsearch.algorithms._integer_program import planned
from pqsearch.open_study import MOST_UNIFORM, informed_seeds, seeds
from pqsearch.problem import FloatArray, Genes, IntArray, Problem, Proposal, uniform_genes
from search_spaces.space import Space

#: Noisy values (plans,) of genes (plans, knobs), to be minimised, and the same without noise.
Score = Callable[[IntArray, np.random.Generator], FloatArray]
Truth = Callable[[IntArray], FloatArray]
Handling = Literal["repair", "penalty"]
#: Asks for a number of plans by calling the objective until the objective has had enough.
Contender = Callable[[Problem, "Objective", int, int], None]

#: Measurements of each leading plan beside its first one, where they are confirmed.
REPEATS = 2
#: Plans over a budget that are free, and plans asked for in all, by evaluations: nothing goes on for ever.
FREE = 20
MOST_ASKED = 50


class Spent(Exception):
    """The contender has had what it may have; only the frame catches this."""


@dataclass(frozen=True)
class Trace:
    """True value of the plan in hand after each evaluation, infinite while there is none.

    `used` evaluations were really made; where a contender stops early its plan stays in hand. `over` plans broke a budget.
    """

    values: FloatArray
    used: int
    asked: int
    over: int


class Knobs:
    """The knobs that can be turned: peers search these alone."""

    def __init__(self, problem: Problem) -> None:
        levels = np.asarray(problem.levels, dtype=np.int64)
        self._count = len(levels)
        self.free = np.flatnonzero(levels > 1)
        self.top: IntArray = levels[self.free] - 1

    def genes(self, turned: ArrayLike) -> IntArray:
        """Genes (plans, knobs) of the levels (plans, free knobs)."""
        levels = np.atleast_2d(np.asarray(turned, dtype=np.int64))
        genes = np.zeros((len(levels), self._count), dtype=np.int64)
        genes[:, self.free] = levels
        return genes


class Leaders:
    """The plans with the best measurements. Where `confirm` of them are to be confirmed, as a study does before it hands one
    over, they are measured `REPEATS` times more, and the mean decides.
    """

    def __init__(self, confirm: int, score: Score, seed: tuple[int, ...]) -> None:
        self._number, self._repeats = max(1, confirm), REPEATS if confirm else 0
        self._score, self._rng = score, np.random.default_rng(seed)
        self._found: list[tuple[float, Genes]] = []
        self._means: dict[Genes, float] = {}

    def add(self, value: float, genes: Genes) -> None:
        """Another plan with its measurement."""
        self._found = sorted([*self._found, (value, genes)])[: self._number]
        if (value, genes) in self._found:
            again = self._score(np.array([genes] * self._repeats), self._rng) if self._repeats else np.empty(0)
            self._means[genes] = float(np.mean([value, *again]))

    @property
    def best(self) -> Genes | None:
        return min((genes for _, genes in self._found), key=lambda genes: self._means[genes], default=None)


class Objective:
    """Values of plans to one contender, until its evaluations are spent.

    `handling` says what is done with plans over a budget; `starts` (plans, knobs) are those that a contender may begin with.
    With `confirm` every contender hands over the best of so many leading plans, confirmed without charge.
    """

    def __init__(
        self,
        problem: Problem,
        score: Score,
        truth: Truth,
        evaluations: int,
        seed: int,
        handling: Handling = "repair",
        starts: bool = False,
        confirm: int = 0,
    ) -> None:
        self._problem, self._score, self._truth, self._evaluations = problem, score, truth, evaluations
        self._top = np.asarray(problem.levels, dtype=np.int64) - 1
        self._rng = np.random.default_rng((seed, evaluations))
        self.handling: Handling = handling
        self.starts = _starts(problem, handling) if starts else np.zeros((0, len(self._top)), dtype=np.int64)
        # Only a scale for values over the budgets: nobody is told what it is.
        self._cheapest = float(truth(np.zeros((1, len(self._top)), dtype=np.int64))[0])
        self._known: dict[Genes, float] = {}
        self._asked = self._over = 0
        self._confirm = confirm
        self._leaders = Leaders(confirm, score, (seed, evaluations, confirm))
        self._in_hand: list[Genes | None] = []

    def __call__(self, genes: IntArray, exact: bool = False) -> FloatArray:
        """Values (plans,) of genes (plans, knobs). Raises `Spent` as soon as nothing more can be learned.

        Where plans are to be repaired they are, unless `exact`.
        """
        genes = np.atleast_2d(genes)
        if (genes < 0).any() or (genes > self._top).any():
            raise ValueError(f"levels must be from 0 to {self._top}, got {genes}")
        if self.handling == "repair" and not exact:
            genes = self._problem.repair(genes)
        holds = np.all(self._problem.costs(genes) <= self._problem.limits, axis=1).tolist()
        over = np.maximum(self.excess(genes), 0).sum(1).tolist()
        rows = zip(genes.tolist(), holds, over, strict=True)
        return np.array([self._value(tuple(row), *rest) for row, *rest in rows])

    def excess(self, genes: IntArray) -> FloatArray:
        """By which share of each limit (plans, budgets) plans go beyond it; not above 0 where they hold it."""
        return self._problem.costs(np.atleast_2d(genes)) / self._problem.limits - 1

    def hand_over(self, genes: Genes) -> None:
        """From a contender with a view of its own: the measured plan that it would hand over now, until the next evaluation.

        Where leading plans are confirmed it has no say.
        """
        holds = np.all(self._problem.costs(np.array([genes])) <= self._problem.limits)
        if genes not in self._known or not holds:
            raise ValueError(f"only a measured plan that holds the budgets can be handed over, got {genes}")
        if not self._confirm:
            self._in_hand[-1] = genes

    def trace(self) -> Trace:
        distinct = list(dict.fromkeys(genes for genes in self._in_hand if genes is not None))
        true = dict(zip(distinct, self._truth(np.array(distinct)).tolist(), strict=True)) if distinct else {}
        values = [np.inf if genes is None else true[genes] for genes in self._in_hand]
        rest = self._evaluations - len(values)
        values += [values[-1] if values else np.inf] * rest
        return Trace(np.array(values), self._evaluations - rest, self._asked, self._over)

    def _value(self, genes: Genes, holds: bool, over: float) -> float:
        if len(self._in_hand) >= self._evaluations or self._asked >= MOST_ASKED * self._evaluations:
            raise Spent
        self._asked += 1
        if genes in self._known:
            return self._known[genes]
        if holds:
            value = float(self._score(np.array([genes]), self._rng)[0])
            self._leaders.add(value, genes)
            self._in_hand.append(self._leaders.best)
        else:
            value = self._cheapest + abs(self._cheapest) * over
            self._over += 1
            if self._over > FREE * self._evaluations:
                self._in_hand.append(self._leaders.best)
        self._known[genes] = value
        return value


def run(
    contender: Contender,
    problem: Problem,
    score: Score,
    truth: Truth,
    evaluations: int,
    seed: int,
    handling: Handling = "repair",
    starts: bool = False,
    confirm: int = 0,
) -> Trace:
    """One contender once, to the end of its evaluations."""
    objective = Objective(problem, score, truth, evaluations, seed, handling, starts, confirm)
    with suppress(Spent):
        contender(problem, objective, evaluations, seed)
    return objective.trace()


def seeds_of(problem: Problem) -> list[Proposal]:
    """What every search of ours evaluates first: the dearest uniform plans, their copies with the slack filled, and the
    integer program's plans where there is a prior.
    """
    if isinstance(problem, Space):
        if problem.prior is None:
            return seeds(problem)
        return seeds(problem) + informed_seeds(problem.with_prior(problem.prior, planned(problem)))
    uniform = uniform_genes(problem)[:MOST_UNIFORM]
    if not len(uniform):
        return []
    plain = [Proposal(tuple(map(int, genes)), exact=True) for genes in uniform]
    return plain + [Proposal(tuple(map(int, genes))) for genes in problem.repair(uniform)]


def _starts(problem: Problem, handling: Handling) -> IntArray:
    """The seeds as genes (plans, knobs), each once. Repair makes a plain one its filled copy."""
    found = [
        proposal.genes
        if proposal.exact and handling == "penalty"
        else tuple(problem.repair(np.array([proposal.genes]))[0].tolist())
        for proposal in seeds_of(problem)
    ]
    return np.array(list(dict.fromkeys(found)), dtype=np.int64).reshape(-1, len(problem.levels))
