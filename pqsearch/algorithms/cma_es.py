"""CMA-ES with margin: a normal distribution over level space whose covariance is learned, and in which no level dies out.

Hamano, Saito, Nomura & Shirakawa, CMA-ES with Margin, GECCO 2022, as `cmaes.CMAwM` has it: every free knob is an integer
dimension. A generation is complete when any `population` results are in and one of them reached the highest rung known; of
more, the best count. Rungs share no scale, so it is ranks that are told. The point that was drawn travels in the memo and is
told back as it was, also where repair moved the plan; a result from elsewhere counts at its levels. When the distribution
has degenerated it starts anew, around the best plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from cmaes import CMAwM

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, FloatArray, Genes, IntArray, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range


class Algorithm:
    """CMA-ES with margin, asynchronous: nobody waits for a generation's last result."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        population: Annotated[
            int | None, Doc("Results of a generation, by default 4 + 3 ln(knobs)."), Range(4, 10000)
        ] = None,
        sigma: Annotated[
            float | None,
            Doc(
                "Standard deviation at the start, as a share of a knob's range; by default 0.3, with a prior half of that."
            ),
            Range(0.01, 1),
        ] = None,
    ) -> None:
        self._seed, self._population = seed, population
        # Around the plan of least expected damage; else around the mean of all uniform plans, from where it is a longer way.
        self._sigma = sigma or (0.3 if problem.prior is None else 0.15)
        self._archive = Archive(1)
        self._steps = Steps(problem)
        self._free = np.flatnonzero(self._steps.top)
        self._start: FloatArray = Starts(problem, 0.0).middle
        self._cma = self._made(self._start)
        self._points: dict[int, FloatArray] = {}
        self._generation: dict[int, Outcome] = {}
        # The highest rung reached in this generation, and ever; -1 where all failed.
        self._lead, self._top = -1, 0

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        drawn = [self._draw(rng) for rng in rngs]
        plans = self._steps.novel(rngs, [genes for genes, _ in drawn], self._archive.seen, 1.0)
        return [
            Proposal(plan, {"point": point.round(6).tolist()}) for plan, (_, point) in zip(plans, drawn, strict=True)
        ]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)
        if "point" in memo:
            self._points[id] = np.array(memo["point"], dtype=np.float64)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        first = self._archive.outcome(id) is None
        # What a candidate reaches after its generation is over comes too late for the distribution.
        if not self._archive.tell(id, genes, outcome) or not (first or id in self._generation) or self._cma is None:
            return
        self._points.setdefault(id, np.array(genes, dtype=np.float64)[self._free])
        self._generation[id] = outcome
        if not outcome.failed:
            self._lead = max(self._lead, outcome.rung)
            self._top = max(self._top, outcome.rung)
        if len(self._generation) >= self._cma.population_size and self._lead == self._top:
            self._update(self._cma)

    def _made(self, mean: FloatArray) -> CMAwM | None:
        top = self._steps.top[self._free].astype(np.float64)
        if not len(top):
            return None
        bounds = np.stack([np.zeros(len(top)), top], axis=1)
        return CMAwM(
            mean[self._free],
            self._sigma,
            bounds,
            np.ones(len(top)),
            population_size=self._population,
            cov=np.diag(top**2),
        )

    def _draw(self, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """Genes (knobs,), not repaired, and the point of the free knobs that they were drawn as."""
        genes = np.zeros(len(self._steps.top), dtype=np.int64)
        if self._cma is None:
            return genes, np.empty(0)
        # But for its generator, asking leaves behind no more than the decomposition that telling begins with anyway.
        self._cma.reseed_rng(int(rng.integers(2**32)))
        levels, point = self._cma.ask()
        genes[self._free] = np.rint(levels)
        return genes, point

    def _update(self, cma: CMAwM) -> None:
        keys = {id: (told.failed, -told.rung, told.values[:1]) for id, told in self._generation.items()}
        chosen = sorted(sorted(keys, key=lambda id: (keys[id], id))[: cma.population_size])
        # Equal results rank equally, by which a flat landscape is recognised.
        ranks = {key: rank for rank, key in enumerate(sorted({keys[id] for id in chosen}))}
        cma.tell([(self._points[id], float(ranks[keys[id]])) for id in chosen])
        for id in self._generation:
            del self._points[id]
        self._generation, self._lead = {}, -1
        if cma.should_stop():
            best = self._archive.ranked()
            self._cma = self._made(np.array(best[0], dtype=np.float64) if best else self._start)
