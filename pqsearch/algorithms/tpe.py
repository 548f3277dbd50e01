"""Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), Optuna's sampler over the levels of the free knobs."""

from __future__ import annotations

from typing import Annotated

from optuna.samplers import BaseSampler, TPESampler

from pqsearch.algorithms._optuna import Sampled
from pqsearch.problem import Problem
from pqsearch.rooms import Doc, Range

#: Says to whoever reads this file that it can be told of several objectives.
SEVERAL_OBJECTIVES = True


class Algorithm(Sampled):
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
        def make(seed: int) -> BaseSampler:
            return TPESampler(
                seed=seed, n_startup_trials=startup, n_ei_candidates=candidates, multivariate=multivariate
            )

        super().__init__(problem, seed, make)
