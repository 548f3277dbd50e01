"""Our algorithms as samplers of Optuna's. The study's storage is the truth: what an algorithm knows is read from its trials."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pqsearch.choices import Choices
from pqsearch.errors import UserError
from pqsearch.following import Following, check_algorithm, follow_by_name
from pqsearch.optuna_history import NOTE, History, values_of
from pqsearch.problem import Finished, Problem, Wait


def as_sampler(
    name: str,
    *,
    space: Mapping[str, BaseDistribution] | None = None,
    problem: Problem | None = None,
    seed: int = 0,
    **options: Any,
) -> BaseSampler:
    """A sampler for `optuna.create_study`; `name` and `options` are those of the spec's `[algorithm]`.

    Without a `space` the parameters are those that all completed trials share, and trials before them are random. A
    `problem` brings budgets: the parameters of `space`, in order, are then its knobs, their values its levels.
    """
    return _Sampler(name, space, problem, seed, options)


class _Sampler(BaseSampler):
    def __init__(
        self,
        name: str,
        space: Mapping[str, BaseDistribution] | None,
        problem: Problem | None,
        seed: int,
        options: Mapping[str, Any],
    ) -> None:
        check_algorithm(name, options, seed=seed)
        self._arguments = name, space, problem, seed, options
        self._name, self._problem, self._seed, self._options = name, problem, seed, options
        self._space = None if space is None else dict(space)
        self._lock = threading.Lock()
        self._current: tuple[dict[str, BaseDistribution], Choices, History, Following] | None = None
        self._finished = False
        if self._space is not None:
            self._follow(self._space)
        elif problem is not None:
            raise UserError("space: is required with a problem, whose knobs it names in order, got nothing")

    def __reduce__(self) -> tuple[Any, ...]:
        return _Sampler, self._arguments  # the lock stays, and the rest is in the study

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        check_algorithm(self._name, self._options, len(study.directions))
        space = self._space
        if space is None:
            space = intersection_search_space(_trials(study, trial))
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        signs = [-1 if direction == StudyDirection.MAXIMIZE else 1 for direction in study.directions]
        with self._lock:
            choices, history, following = self._follow(search_space if self._space is None else self._space)
            asked = following.propose(trial.number, history.events(_trials(study, trial), signs))
            self._finished = isinstance(asked, Finished)
            if isinstance(asked, (Wait, Finished)):
                return {}  # a trial that has begun must take something: it draws at random
            study._storage.set_trial_system_attr(trial._trial_id, NOTE, history.note(asked))
        values = choices.decode(asked.genes)
        return {name: values[name] for name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        Choices({param_name: values_of(param_name, param_distribution)})  # refuses what cannot be searched later
        entropy = self._seed, trial.number, zlib.crc32(param_name.encode())
        random = RandomSampler(seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Ends `optimize` once the algorithm has nothing more to propose."""
        if self._finished:
            with contextlib.suppress(RuntimeError):  # the user asks and tells: there is nothing to stop
                study.stop()

    def _follow(self, space: dict[str, BaseDistribution]) -> tuple[Choices, History, Following]:
        if self._current is None or self._current[0] != space:
            choices = Choices({name: values_of(name, distribution) for name, distribution in space.items()})
            problem = self._problem or choices.box()
            if choices.levels != list(problem.levels):
                raise UserError(
                    f"space: must have as many values as the problem has levels, {list(problem.levels)}, got {choices.levels}"
                )
            following = follow_by_name(self._name, problem, self._seed, self._options)
            self._current = space, choices, History(choices, self._name), following
        return self._current[1:]


def _trials(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """All others. Not `study.get_trials`: some pruners show a sampler only a part of the study."""
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    return [other for other in trials if other.number != trial.number]
