"""nevergrad's NGOpt, which picks an optimiser for the problem it is given: here a mutation-only one for discrete arrays.

Levels are an integer-cast array, its documented form of ordered integers; a `TransitionChoice` for each knob came out no
better and takes several times as long. Budgets go into the loss. nevergrad's own `constraint_violation` weighs violations
by when they came, and found no plan that holds three budgets; `register_cheap_constraint` draws until one does, and where
they are one in a thousand that took minutes. Where plans within the budget are common all three do the same.
"""

from __future__ import annotations

import nevergrad as ng
import numpy as np

from arena.contest import Contender, Knobs, Objective
from pqsearch.problem import Problem


def _peer(optimizer: str) -> Contender:
    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        knobs = Knobs(problem)
        top = knobs.top.astype(np.float64)
        levels = ng.p.Array(init=top / 2, lower=np.zeros(len(top)), upper=top).set_integer_casting()
        levels.random_state = np.random.RandomState(seed)
        found = ng.optimizers.registry[optimizer](parametrization=levels, budget=evaluations, num_workers=1)
        for plan in objective.starts[::-1]:  # the last one suggested is asked first
            found.suggest(plan[knobs.free].astype(np.float64))
        while True:
            candidate = found.ask()
            found.tell(candidate, float(objective(knobs.genes(candidate.value))[0]))

    return contend


ngopt = _peer("NGOpt")
