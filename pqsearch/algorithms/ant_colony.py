"""MAX-MIN ant system: a pheromone trail per knob and level, kept between two bounds; an ant draws a level for every knob.

Stuetzle & Hoos, MAX-MIN Ant System, Future Generation Computer Systems 2000: a level is drawn with probability proportional
to tau^alpha eta^beta; after each colony of `ants` results the trails evaporate and one ant deposits, the colony's best or,
every `elite`-th time, the best so far; tau_min = tau_max (1 - p^(1/n)) / ((avg - 1) p^(1/n)) with p = 0.05, n knobs of avg
levels. Trails are normalised to tau_max = 1 and begin there. eta, the heuristic information, is a normal bell over levels around
those of a whole plan that is good already: each ant follows a uniform plan or, where the problem has a prior, for half of the
ants one of the integer program's plans. The prior's own levels are not read one by one: what a level is worth by itself says
nothing of the budgets, while near such a plan an ant spends them well, and repair has little to mend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from pqsearch.algorithms._archive import Archive, Key, key_of
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, FloatArray, Genes, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range

#: Chance that a converged colony draws exactly its best plan (the paper's p_best).
CONVERGED = 0.05


class Algorithm:
    """MAX-MIN ant system, asynchronous: a colony is complete when any `ants` results are in."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        ants: Annotated[int, Doc("Results between two updates of the trails."), Range(1, 10000)] = 4,
        evaporation: Annotated[float, Doc("Share of the trails that evaporates, rho."), Range(0.001, 1)] = 0.3,
        alpha: Annotated[float, Doc("Weight of the trails."), Range(0, 10)] = 1.0,
        beta: Annotated[float, Doc("Weight of the heuristic information."), Range(0, 10)] = 1.0,
        elite: Annotated[int, Doc("Every how many updates the best so far deposits."), Range(1, 1000)] = 2,
        spread: Annotated[
            float, Doc("Levels from a uniform plan's at which eta falls to 0.6."), Range(0.01, 100)
        ] = 1.8,
    ) -> None:
        self._seed = seed
        self._ants, self._evaporation, self._elite = ants, evaporation, elite
        self._alpha = alpha
        self._archive = Archive(1)
        self._steps = Steps(problem)
        levels = np.asarray(problem.levels)
        self._legal = np.arange(levels.max()) < levels[:, None]
        self._trails: FloatArray = np.where(self._legal, 1.0, 0.0)
        self._floor = _floor(levels)
        starts = Starts(problem, 0.0)
        distance = np.arange(levels.max()) - starts.centres[:, :, None]
        # One heuristic per uniform plan, of which each ant follows one: their mean would prefer none of them.
        self._eta: FloatArray = np.exp(-0.5 * beta * starts.informed * (distance / spread) ** 2) + 1e-12
        self._colony: list[tuple[Key, Genes]] = []
        self._updates = 0

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        weights = np.where(self._legal, self._trails**self._alpha, 0.0)  # 0 to the power of 0 is 1
        genes = [self._draw(rng, weights) for rng in rngs]
        return [Proposal(plan) for plan in self._steps.novel(rngs, genes, self._archive.seen, 1.0)]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        first = self._archive.outcome(id) is None
        if not self._archive.tell(id, genes, outcome) or outcome.failed:
            return
        if first:
            self._colony.append((key_of(id, outcome), genes))
        if len(self._colony) >= self._ants:
            self._update()

    def _update(self) -> None:
        self._updates += 1
        best = min(self._colony)[1]
        if self._updates % self._elite == 0:
            best = self._archive.ranked()[0]
        self._trails *= 1 - self._evaporation
        self._trails[np.arange(len(best)), best] += self._evaporation
        np.clip(self._trails, self._floor, 1.0, out=self._trails)
        self._trails[~self._legal] = 0.0
        self._colony = []

    def _draw(self, rng: np.random.Generator, weights: FloatArray) -> Any:
        eta = self._eta[rng.integers(len(self._eta))]
        shares = np.cumsum(weights * eta, axis=1)
        drawn = rng.random(len(shares)) * shares[:, -1]
        return (shares <= drawn[:, None]).sum(1)


def _floor(levels: Any) -> float:
    """The lower bound of the trails, for an upper one of 1."""
    free = levels[levels > 1]
    if not len(free):
        return 1.0
    root = CONVERGED ** (1 / len(free))
    return float(min(1.0, (1 - root) / max(1e-9, (free.mean() - 1) * root)))
