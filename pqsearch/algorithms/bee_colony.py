"""Artificial bee colony in level space: employed and onlooker bees move food sources, scouts replace exhausted ones.

Karaboga, An Idea Based on Honey Bee Swarm for Numerical Optimization, Erciyes University TR06, 2005: a neighbour of source i
is v_j = x_ij + phi (x_ij - x_kj), phi ~ U(-1, 1), on chosen knobs j; it replaces the source if it is better (greedy), and a
source that was not bettered `limit` times is abandoned. Four departures: the first sources are the best plans that a study
begins with, scouts find the others; several knobs may change at once (the modification rate of Akay & Karaboga 2012), by up to a
level where the two sources agree; they are drawn towards the best plan so far, by psi_j (g_j - x_ij), psi ~ U(0, C) (Zhu &
Kwong 2010); and onlookers choose by rank, since scores of different rungs cannot be added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from pqsearch.algorithms._archive import Archive, Key, key_of
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, Genes, IntArray, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range

#: Later candidates that are heard of, beside three for each in flight, before a scout that is not is given up.
PATIENCE = 60


@dataclass
class _Source:
    """A food source. A scout begins another `life` of it; words about earlier lives no longer count. Life 0 is a plan given."""

    life: int = 0
    turns: int = 0
    flying: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    best: tuple[Key, Genes] | None = None


class Algorithm:
    """Artificial bee colony, asynchronous: every result updates its own source."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        sources: Annotated[
            int, Doc("Food sources; half of the bees are employed, half onlookers."), Range(2, 10000)
        ] = 6,
        limit: Annotated[int, Doc("Tries without success before a source is abandoned."), Range(1, 100000)] = 20,
        changes: Annotated[float, Doc("Expected number of knobs that a bee changes."), Range(0, 1000)] = 4.0,
        guidance: Annotated[float, Doc("Pull of the best plan so far; 0 is Karaboga's rule."), Range(0, 10)] = 1.5,
        spread: Annotated[float, Doc("Levels by which scouts scatter around uniform plans."), Range(0, 100)] = 0.5,
    ) -> None:
        self._seed, self._limit, self._changes, self._guidance = seed, limit, changes, guidance
        self._archive = Archive(1)
        self._given = Archive(sources)
        self._starts = Starts(problem, spread)
        self._steps = Steps(problem)
        self._free = np.flatnonzero(self._steps.top)
        self._sources = [_Source() for _ in range(sources)]
        self._owner: dict[int, tuple[int, int]] = {}
        self._turns = 0

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        """Scouts where a source is empty or exhausted; employed and onlooker bees in turn elsewhere."""
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        scouts = [
            index
            for index, source in enumerate(self._sources)
            if self._trials(index) > self._limit or not (self._best(index) or self._awaited(source))
        ]
        fed = sorted((best[0], index) for index in range(len(self._sources)) if (best := self._best(index)))
        ranked = [index for _, index in fed if index not in scouts]
        turns = {index: self._sources[index].turns for index in ranked}
        genes, memos = [], []
        for offset, rng in enumerate(rngs):
            if scouts or not ranked:
                # Where all sources wait for their scouts, more scouts help one of them.
                index = scouts[0] if scouts else int(rng.integers(len(self._sources)))
                life = self._sources[index].life + bool(scouts)
                scouts = scouts[1:]
                genes.append(self._starts.draw(rng))
                memos.append({"source": index, "life": life, "bee": "scout"})
                continue
            bee = ("employed", "onlooker")[(self._turns + offset) % 2]
            index = min(turns, key=lambda one: (turns[one], one)) if bee == "employed" else self._pick(rng, ranked)
            turns[index] += bee == "employed"
            genes.append(self._neighbour(rng, index, ranked))
            memos.append({"source": index, "life": self._sources[index].life, "bee": bee})
        plans = self._steps.novel(rngs, genes, self._archive.seen, 1.0)
        return [Proposal(plan, memo) for plan, memo in zip(plans, memos, strict=True)]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)
        if "source" not in memo or memo["source"] >= len(self._sources):
            return
        source = self._sources[memo["source"]]
        if memo["life"] > source.life:
            self._sources[memo["source"]] = source = _Source(memo["life"], source.turns)
        elif memo["life"] < source.life:
            return
        source.turns += memo["bee"] == "employed"
        self._turns += memo["bee"] != "scout"
        self._owner[id] = memo["source"], memo["life"]
        source.flying.add(id)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)
        if id not in self._owner:
            self._given.tell(id, genes, outcome)
            return
        index, life = self._owner[id]
        if self._sources[index].life != life:
            return
        source = self._sources[index]
        source.flying.discard(id)
        source.told.add(id)
        if not outcome.failed:
            key = key_of(id, outcome)
            if source.best is None or key < source.best[0]:
                source.best = key, genes

    def _best(self, index: int) -> tuple[Key, Genes] | None:
        """The plan of a source, None before it has one."""
        source, given = self._sources[index], self._given.keyed()
        if source.life > 0 or index >= len(given):
            return source.best
        return min(given[index], source.best or given[index])

    def _awaited(self, source: _Source) -> bool:
        """Whether a bee of an empty source may still be heard of: those whose process died never are."""
        flying = len(self._archive.asked) - self._archive.heard
        return any(self._archive.heard_after(id) <= PATIENCE + 3 * flying for id in source.flying)

    def _trials(self, index: int) -> int:
        """Candidates after the best one of a source, none of them better."""
        best = self._best(index)
        return sum(best is None or id > best[0][2] for id in self._sources[index].told)

    def _pick(self, rng: np.random.Generator, ranked: list[int]) -> int:
        """Linear ranking: the best source is chosen twice as often as the middle one."""
        share = np.arange(len(ranked), 0, -1, dtype=np.float64)
        return ranked[int(np.searchsorted(np.cumsum(share / share.sum()), rng.random()).clip(0, len(ranked) - 1))]

    def _neighbour(self, rng: np.random.Generator, index: int, ranked: list[int]) -> IntArray:
        own = self._genes(index)
        others = [other for other in ranked if other != index]
        if not others:
            return self._steps.mutate(rng, own, self._changes)
        other = self._genes(others[int(rng.integers(len(others)))])
        chosen = self._free[rng.random(len(self._free)) < self._changes / max(1, len(self._free))]
        if not len(chosen):
            chosen = rng.choice(self._free, size=1) if len(self._free) else chosen
        gap = np.abs(own - other)[chosen]
        position = own.astype(np.float64)
        position[chosen] += rng.uniform(-1, 1, len(chosen)) * np.maximum(gap, 1)
        lead = self._archive.parents()[0] - own
        position[chosen] += self._guidance * rng.random(len(chosen)) * lead[chosen]
        return self._steps.rounded(rng, position)

    def _genes(self, index: int) -> IntArray:
        best = self._best(index)
        assert best is not None
        return np.array(best[1], dtype=np.int64)
