"""Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), Optuna's sampler over the levels of the free knobs.

The sampler is made anew for every candidate, seeded by (seed, candidate) and shown the history: one that lived through
the history would not repeat itself when a search is replayed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pqsearch.algorithms._archive import Archive
from pqsearch.problem import Finished, Genes, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range

#: Results of a lower rung rank behind all of a higher one: shifted by more than values differ.
RUNG_PENALTY = 1e6


class Algorithm:
    """TPE on the same footing as the population algorithms: its proposals are repaired, its history is what was told."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        startup: Annotated[int, Doc("Random candidates before the model is used."), Range(1, 10000)] = 20,
        candidates: Annotated[int, Doc("Draws among which the model picks."), Range(1, 10000)] = 24,
        multivariate: Annotated[bool, Doc("Model knobs together instead of one by one.")] = True,
    ) -> None:
        self._problem = problem
        self._seed = seed
        self._startup, self._candidates, self._multivariate = startup, candidates, multivariate
        self._space: dict[str, BaseDistribution] = {
            str(knob): IntDistribution(0, levels - 1) for knob, levels in enumerate(problem.levels) if levels > 1
        }
        self._archive = Archive()

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        drawn = np.array([self._draw(id) for id in ids], dtype=np.int64)
        return [Proposal(tuple(map(int, genes))) for genes in self._problem.repair(drawn)]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)

    def _draw(self, id: int) -> list[int]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            # `multivariate` is marked experimental and says so at every construction.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=_seed(self._seed, id),
                n_startup_trials=self._startup,
                n_ei_candidates=self._candidates,
                multivariate=self._multivariate,
            )
        study = optuna.create_study(sampler=sampler)
        study.add_trials([self._trial(genes, outcome) for _, genes, outcome in self._archive.told()])
        trial = study.ask(self._space)
        return [trial.params.get(str(knob), 0) for knob in range(len(self._problem.levels))]

    def _trial(self, genes: Genes, outcome: Outcome) -> FrozenTrial:
        return create_trial(
            state=TrialState.FAIL if outcome.failed else TrialState.COMPLETE,
            params={name: genes[int(name)] for name in self._space},
            distributions=self._space,
            value=None if outcome.failed else outcome.values[0] - RUNG_PENALTY * outcome.rung,
        )


def _seed(seed: int, id: int) -> int:
    return int(np.random.SeedSequence((seed, id)).generate_state(1)[0])
