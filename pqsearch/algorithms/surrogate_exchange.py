"""Exchange moves between good plans, screened by a surrogate: the default, made for few and noisy evaluations.

A child takes each knob from any of the best plans (gene-pool recombination: Mühlenbein & Paaß, PPSN 1996), or it is one of them
moved by what sets two others apart (differential evolution: Storn & Price, Journal of Global Optimization 1997): steps as large
as the plans still differ. Plans lie on their budgets, so then one layer is given what others lose: some knobs go up, as many
down, and repair settles the rest. A few such children are judged by one function drawn from a Gaussian process (`_surrogate`),
and the best of them is measured (Thompson sampling: Biometrika 1933; Russo et al., A Tutorial on Thompson Sampling, 2018): what
is uncertain is tried as often as it may be best, and proposals made at once differ. Few children and one generation of them on
purpose: breeding on against the surrogate finds what it is wrong about. The best plans are the best by the process' mean and not
by the score, which noise flatters. Results of lower rungs, and failures, count as worse than all of a higher one, in their order.
Several objectives are weighed against each other anew for every candidate (ParEGO: Knowles, IEEE Transactions on Evolutionary
Computation 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.algorithms._surrogate import MOST_FITTED, Hyper, Kernel, Surrogate
from pqsearch.algorithms._targets import Results, lowest, targets, weightings
from pqsearch.problem import Finished, Genes, IntArray, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range

#: Says to whoever reads this file that it trades several objectives off.
SEVERAL_OBJECTIVES = True
#: Results the surrogate is given: as many of the best as of the latest.
MOST_GIVEN = 400
#: Results without which there is no surrogate.
FEWEST_GIVEN = 4


class Algorithm:
    """Surrogate-screened evolutionary search over level space."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        startup: Annotated[int, Doc("Candidates around uniform plans before the surrogate."), Range(4, 10000)] = 12,
        parents: Annotated[int, Doc("Plans that children are bred from."), Range(1, 1000)] = 12,
        children: Annotated[int, Doc("Children that are judged for each one that is measured."), Range(2, 10000)] = 16,
        spread: Annotated[
            float, Doc("Levels by which first candidates scatter around uniform plans."), Range(0, 100)
        ] = 0.7,
    ) -> None:
        self._problem, self._seed = problem, seed
        self._startup, self._parents, self._children = startup, parents, children
        self._archive, self._results = Archive(), Results()
        self._starts = Starts(problem, spread)
        self._steps = Steps(problem)
        self._free = np.flatnonzero(self._steps.top)
        self._kernel = Kernel(np.asarray(problem.levels, dtype=np.int64), problem.prior)
        # One for each weighting in use: with one objective there is only the first.
        self._models: dict[int, tuple[int, Surrogate]] = {}
        self._hypers: dict[int, tuple[tuple[Any, ...], Hyper]] = {}
        self._words, self._weightings = 0, weightings(1)

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        models = [self._surrogate(id % len(self._weightings)) for id in ids]
        born = len(self._archive.asked)
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        first = [model is None or born + offset < self._startup for offset, model in enumerate(models)]
        genes = [
            self._starts.draw(rng) if model is None or initial else self._bred(rng, model)
            for rng, model, initial in zip(rngs, models, first, strict=True)
        ]
        plans = self._steps.novel(rngs, genes, self._archive.seen, 2.0)
        return [
            Proposal(plan, {"origin": "initial" if initial else "child"})
            for plan, initial in zip(plans, first, strict=True)
        ]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        if not self._archive.tell(id, genes, outcome):
            return
        self._words += 1
        self._results.add(id, genes, outcome)
        if len(outcome.values) > self._weightings.shape[1]:
            self._weightings = weightings(len(outcome.values))

    def leading(self, number: int) -> list[int]:
        """The candidates with the best scores by the surrogate's mean, of those that reached the highest rung."""
        model = self._surrogate(0)
        told = [(id, genes, outcome) for id, genes, outcome in self._archive.told() if not outcome.failed]
        if model is None or not told:
            return []
        highest = max(outcome.rung for *_, outcome in told)
        ids = {genes: id for id, genes, outcome in reversed(told) if outcome.rung == highest}
        ranked = dict.fromkeys(tuple(model.genes[index].tolist()) for index in np.argsort(model.fitted, kind="stable"))
        return [ids[genes] for genes in ranked if genes in ids][:number]

    def _surrogate(self, weighting: int) -> Surrogate | None:
        """Fitted to what was told so far; None while too little was."""
        known = self._models.get(weighting)
        if known is None or known[0] != self._words:
            model = self._fit(weighting)
            if model is None:
                return None
            self._models[weighting] = known = self._words, model
        return known[1]

    def _fit(self, weighting: int) -> Surrogate | None:
        if len(self._results) < FEWEST_GIVEN or len(self._free) == 0:
            return None
        ids, rungs, values = self._results.arrays()
        weights = self._weightings[weighting]
        # The shape of the landscape is learned from the first results, again each time there is half as much more.
        growth = int(np.log(len(ids) / FEWEST_GIVEN) / np.log(1.5))
        count = int(min(MOST_FITTED, FEWEST_GIVEN * 1.5**growth))
        head = tuple((id, self._archive.outcome(id)) for id in ids[:count].tolist())
        hyper = self._hypers.get(weighting)
        if hyper is None or hyper[0] != head:
            first = self._results.genes(ids[:count]), targets(rungs[:count], values[:count], weights)
            hyper = self._hypers[weighting] = head, Surrogate(self._kernel, *first).hyper
        found = targets(rungs, values, weights)
        if len(ids) > MOST_GIVEN:
            latest = np.arange(len(ids) - MOST_GIVEN // 2, len(ids))
            chosen = np.union1d(lowest(found, MOST_GIVEN // 2), latest)
            ids, found = ids[chosen], found[chosen]
        return Surrogate(self._kernel, self._results.genes(ids), found, hyper[1])

    def _bred(self, rng: np.random.Generator, model: Surrogate) -> IntArray:
        """The new child that is best by one draw of what may be true; the best parent's copy where none is new."""
        parents = model.genes[np.argsort(model.fitted, kind="stable")[: self._parents]]
        children = self._problem.repair(self._litter(rng, parents))
        ranked = np.argsort(model.draw(rng, children), kind="stable")
        fresh = [index for index in ranked if tuple(children[index].tolist()) not in self._archive.seen]
        return children[fresh[0]] if fresh else parents[0]

    def _litter(self, rng: np.random.Generator, parents: IntArray) -> IntArray:
        """Children (children, knobs), not repaired: of all parents, half of them as a difference, and then an exchange."""
        count, knobs = self._children, parents.shape[1]
        first, second, third = rng.integers(len(parents), size=(3, count))
        pooled = parents[rng.integers(len(parents), size=(count, knobs)), np.arange(knobs)]
        moved = parents[first] + parents[second] - parents[third]
        litter = np.where((rng.random(count) < 0.5)[:, None], moved, pooled)
        # As many knobs go up as go down, one or two each.
        pairs = rng.integers(1, 3, size=count)
        order = rng.random((count, len(self._free))).argsort(1)[:, :4]
        for place in range(order.shape[1]):
            step = np.where(place < 2 * pairs, 1 - 2 * (place % 2), 0)
            litter[np.arange(count), self._free[order[:, place]]] += step
        return self._steps.legal(litter)
