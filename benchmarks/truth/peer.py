"""Optuna's CMA-ES as in the arena, with our repair and our starts, but for real: `[algorithm] name = "peer:CmaEs"`.

One living sampler that no journal could rebuild, so that a search of it that was cut off has to be made anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import CmaEsSampler
from optuna.trial import Trial, TrialState

from pqsearch.problem import Genes, Outcome, Problem, Proposal, Wait


class CmaEs:
    """Asks an Optuna study; begins at the best of the plans that every search begins with, as soon as all are measured."""

    def __init__(self, problem: Problem, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._seed = seed
        self._space: dict[str, BaseDistribution] = {
            str(knob): IntDistribution(0, levels - 1) for knob, levels in enumerate(problem.levels) if levels > 1
        }
        self._fixed = np.zeros(len(problem.levels), dtype=np.int64)
        self._trials: dict[int, Trial] = {}
        self._starts: dict[int, Genes] = {}
        self._told: dict[int, float] = {}
        self._study: optuna.Study | None = None

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait:
        if self._study is None:
            if len(self._told) < len(self._starts):
                return Wait()
            self._study = self._begun()
        return [self._one(self._study, id) for id in ids]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        if self._study is None:
            self._starts[id] = genes

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        if id in self._told:
            return
        self._told[id] = np.inf if outcome.failed else outcome.values[0]
        if self._study is not None and id in self._trials:
            trial = self._trials.pop(id)
            if outcome.failed:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, self._told[id])

    def _begun(self) -> optuna.Study:
        best = min(self._told, key=self._told.__getitem__, default=None)
        x0 = None if best is None else self._levels(self._starts[best])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "`x0` has been deprecated", FutureWarning)
            study = optuna.create_study(sampler=CmaEsSampler(seed=self._seed, with_margin=True, x0=x0))
        for id, genes in self._starts.items():
            if np.isfinite(self._told[id]):
                study.enqueue_trial(self._levels(genes))
                study.tell(study.ask(self._space), self._told[id])
        return study

    def _one(self, study: optuna.Study, id: int) -> Proposal:
        trial = self._trials[id] = study.ask(self._space)
        genes = self._fixed.copy()
        for knob, level in trial.params.items():
            genes[int(knob)] = level
        return Proposal(tuple(genes.tolist()))

    def _levels(self, genes: Genes) -> dict[str, Any]:
        return {knob: int(genes[int(knob)]) for knob in self._space}
