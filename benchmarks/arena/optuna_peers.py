"""Optuna's samplers as its users run them: one study, one living sampler, levels as `IntDistribution`s.

Options are the defaults but for two, named below. Budgets are given to those that take them as constraints of the trial (TPE,
NSGA-II, GP); CMA-ES sees the penalised value alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler

from arena.contest import Contender, Knobs, Objective
from pqsearch.problem import Problem

#: Where a sampler that learns from no trials but its own is to begin.
Start = dict[str, Any] | None


def _peer(make: Callable[[int, Start], BaseSampler], constraints: bool = True) -> Contender:
    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        knobs = Knobs(problem)
        space: dict[str, BaseDistribution] = {
            str(knob): IntDistribution(0, int(top)) for knob, top in zip(knobs.free, knobs.top, strict=True)
        }
        # The best of the starts; enqueued below they cost nothing more.
        best = objective.starts[np.argmin(objective(objective.starts))] if len(objective.starts) else None
        start = None if best is None else {name: int(best[int(name)]) for name in space}
        with warnings.catch_warnings():
            # The margin says that it is experimental, x0 that it goes with Optuna 6.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "`x0` has been deprecated", FutureWarning)
            study = optuna.create_study(sampler=make(seed, start))
        for plan in objective.starts:
            study.enqueue_trial({name: int(plan[int(name)]) for name in space})
        while True:
            trial = study.ask(space)
            genes = knobs.genes([trial.params[name] for name in space])
            if constraints and objective.handling == "penalty":
                for budget, excess in zip(problem.budgets, objective.excess(genes)[0], strict=True):
                    trial.set_constraint(budget, float(excess))
            study.tell(trial, float(objective(genes)[0]))

    return contend


tpe = _peer(lambda seed, start: TPESampler(seed=seed))
# The default of 50 leaves two generations of 100 evaluations; 20 came out better.
nsga2 = _peer(lambda seed, start: NSGAIISampler(seed=seed, population_size=20))
# The margin is Optuna's for integers, and came out better than none. It learns from its own trials alone, so that starts
# have to be where it begins.
cmaes = _peer(lambda seed, start: CmaEsSampler(seed=seed, with_margin=True, x0=start), constraints=False)
gp = _peer(lambda seed, start: GPSampler(seed=seed))
