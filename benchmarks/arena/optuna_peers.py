"""Optuna's samplers as its users run them: one study, one living sampler, levels as `IntDistribution`s.

Options are the defaults but for two, named below. Budgets are given to those that take them as constraints of the trial (TPE,
NSGA-II, GP); CMA-ES sees the penalised value alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler

from arena.contest import Contender, Knobs, Objective
from pqsearch.problem import Problem


def _peer(make: Callable[[int], BaseSampler], constraints: bool = True) -> Contender:
    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        knobs = Knobs(problem)
        space: dict[str, BaseDistribution] = {
            str(knob): IntDistribution(0, int(top)) for knob, top in zip(knobs.free, knobs.top, strict=True)
        }
        with warnings.catch_warnings():
            # What is marked experimental says so.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(sampler=make(seed))
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


tpe = _peer(lambda seed: TPESampler(seed=seed))
# The default of 50 leaves two generations of 100 evaluations; 20 came out better.
nsga2 = _peer(lambda seed: NSGAIISampler(seed=seed, population_size=20))
# The margin is Optuna's for integers, and came out better than none.
cmaes = _peer(lambda seed: CmaEsSampler(seed=seed, with_margin=True), constraints=False)
gp = _peer(lambda seed: GPSampler(seed=seed))
