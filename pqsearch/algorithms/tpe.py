"""Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), Optuna's sampler over the levels of the free knobs.

The sampler is made anew for every candidate, seeded by (seed, candidate) and shown the history: one that lived through
the history would not repeat itself when a search is replayed. Repair maps many suggestions onto one plan: a plan that was
asked before is mutated by level steps until it is new.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Sequence
from typing import Annotated, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, Genes, IntArray, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range

#: Results of a lower rung rank behind all of a higher one: shifted by more than values differ.
RUNG_PENALTY = 1e6
#: Knobs that the first mutation of a known plan changes, on average.
MUTATION = 1.0


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
        self._levels = problem.levels
        self._seed = seed
        self._startup, self._candidates, self._multivariate = startup, candidates, multivariate
        self._space: dict[str, BaseDistribution] = {
            str(knob): IntDistribution(0, levels - 1) for knob, levels in enumerate(problem.levels) if levels > 1
        }
        self._archive = Archive()
        self._steps = Steps(problem)
        self._trials: dict[int, tuple[Outcome, FrozenTrial]] = {}

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        history = [self._trial(id, genes, outcome) for id, genes, outcome in self._archive.told()]
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        drawn = [self._draw(id, history) for id in ids]
        return [Proposal(genes) for genes in self._steps.novel(rngs, drawn, self._archive.seen, MUTATION)]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)

    def _draw(self, id: int, history: list[FrozenTrial]) -> IntArray:
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
        params = optuna.create_study(storage=_History(history), sampler=sampler).ask(self._space).params
        return np.array([params.get(str(knob), 0) for knob in range(len(self._levels))], dtype=np.int64)

    def _trial(self, id: int, genes: Genes, outcome: Outcome) -> FrozenTrial:
        """A candidate as Optuna sees it; made once, since this is where the time goes."""
        known = self._trials.get(id)
        if known is not None and known[0] == outcome:
            return known[1]
        trial = FrozenTrial(
            number=id,
            trial_id=id,
            state=TrialState.FAIL if outcome.failed else TrialState.COMPLETE,
            value=None if outcome.failed else outcome.values[0] - RUNG_PENALTY * outcome.rung,
            datetime_start=None,
            datetime_complete=None,
            params={name: genes[int(name)] for name in self._space},
            distributions=self._space,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        self._trials[id] = (outcome, trial)
        return trial


class _History(InMemoryStorage):
    """A storage that shows given trials. Adding them to Optuna's own copies each one deeply, for every candidate anew."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._shown = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def _seed(seed: int, id: int) -> int:
    return int(np.random.SeedSequence((seed, id)).generate_state(1)[0])
