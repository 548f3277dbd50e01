"""Tune's OptunaSearch as an algorithm: made anew for every candidate and shown the history. Ray is imported with it."""

from __future__ import annotations

from typing import Any

from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from pqsearch.algorithms._optuna import Sampled
from pqsearch.problem import Problem


class Searched(Sampled):
    """What repair makes of a suggestion, and how a known plan becomes a new one, is as with Optuna's samplers."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed, lambda seed: TPESampler(seed=seed))

    def _suggest(self, seed: int, history: list[FrozenTrial]) -> tuple[dict[str, Any], dict[str, Any]]:
        from ray.tune.search.optuna import OptunaSearch

        if not self._space:  # it refuses a space without parameters
            return {}, {}
        search = OptunaSearch(self._space, metric="value", mode="min", seed=seed)
        for trial in history:
            search.add_evaluated_point(trial.params, trial.value, error=trial.state == TrialState.FAIL)
        return search.suggest("next"), {}
