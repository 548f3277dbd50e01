"""Optuna's samplers as algorithms: a sampler is made anew for every candidate and shown the history.

One that lived through the history would not repeat itself when a search is replayed. Repair maps many suggestions onto one
plan: a plan that was asked before is mutated by level steps until it is new.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, Genes, IntArray, Outcome, Problem, Proposal, Wait

#: Results of a lower rung rank behind all of a higher one: shifted by more than values differ.
RUNG_PENALTY = 1e6
#: Knobs that the first mutation of a known plan changes, on average.
MUTATION = 1.0


class Sampled:
    """A sampler of Optuna's over the levels of the free knobs; `make` gives one for a seed."""

    def __init__(self, problem: Problem, seed: int, make: Callable[[int], BaseSampler]) -> None:
        self._levels = problem.levels
        self._seed, self._make = seed, make
        self._space: dict[str, BaseDistribution] = {
            str(knob): IntDistribution(0, levels - 1) for knob, levels in enumerate(problem.levels) if levels > 1
        }
        self._archive = Archive()
        self._objectives = 0
        self._steps = Steps(problem)
        self._trials: dict[int, tuple[Outcome, FrozenTrial]] = {}
        # What a sampler writes on its trials (the generation, for one), which it looks for in the history.
        self._notes: dict[int, dict[str, Any]] = {}

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        history = [self._trial(id, genes, outcome) for id, genes, outcome in self._archive.told()]
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        drawn = [self._draw(id, history) for id in ids]
        plans = self._steps.novel(rngs, [genes for genes, _ in drawn], self._archive.seen, MUTATION)
        return [
            Proposal(plan, {"notes": notes} if notes else {}) for plan, (_, notes) in zip(plans, drawn, strict=True)
        ]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)
        self._notes[id] = memo.get("notes", {})

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)
        self._objectives = max(self._objectives, len(outcome.values))

    def _draw(self, id: int, history: list[FrozenTrial]) -> tuple[IntArray, dict[str, Any]]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        params, notes = self._suggest(int(np.random.SeedSequence((self._seed, id)).generate_state(1)[0]), history)
        return np.array([params.get(str(knob), 0) for knob in range(len(self._levels))], dtype=np.int64), notes

    def _suggest(self, seed: int, history: list[FrozenTrial]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Levels of the free knobs, and what the sampler noted on the trial."""
        with warnings.catch_warnings():
            # Samplers and options marked experimental say so at every construction.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = _History(history)
            study = optuna.create_study(
                storage=storage, sampler=self._make(seed), directions=["minimize"] * max(1, self._objectives)
            )
            params = study.ask(self._space).params
            (asked,) = InMemoryStorage.get_all_trials(storage, study._study_id)
        # TPE also notes the whole suggestion, and never reads it again.
        return params, {key: value for key, value in asked.system_attrs.items() if not key.startswith("tpe:")}

    def _trial(self, id: int, genes: Genes, outcome: Outcome) -> FrozenTrial:
        """A candidate as Optuna sees it; made once, since this is where the time goes."""
        known = self._trials.get(id)
        if known is not None and known[0] == outcome:
            return known[1]
        trial = FrozenTrial(
            number=id,
            trial_id=id,
            state=TrialState.FAIL if outcome.failed else TrialState.COMPLETE,
            value=None,
            values=None if outcome.failed else [value - RUNG_PENALTY * outcome.rung for value in outcome.values],
            datetime_start=None,
            datetime_complete=None,
            params={name: genes[int(name)] for name in self._space},
            distributions=self._space,
            user_attrs={},
            system_attrs=self._notes.get(id, {}),
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
