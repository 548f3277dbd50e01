"""A search algorithm of one's own: change one knob of the best plan so far. `[algorithm] name = "hill_climber:HillClimber"`."""

import numpy as np

from pqsearch.problem import Proposal


class HillClimber:
    """`problem` has levels, costs, limits and repair; options of the spec are keyword arguments."""

    def __init__(self, problem, seed, *, step: int = 1):
        self.problem, self.seed, self.step = problem, seed, step
        self.best = None  # (rung, value, genes) of the best plan told so far

    def ask(self, ids):
        """One proposal per id. All randomness comes from (seed, id), and nothing changes here: a search that was
        killed asks again and gets the same."""
        proposals = []
        for id in ids:
            rng = np.random.default_rng((self.seed, id))
            levels = np.asarray(self.problem.levels)
            genes = rng.integers(0, levels) if self.best is None else np.array(self.best[2])
            knob = rng.integers(len(levels))
            genes[knob] = np.clip(genes[knob] + rng.choice([-self.step, self.step]), 0, levels[knob] - 1)
            proposals.append(Proposal(tuple(self.problem.repair(genes[None])[0].tolist())))
        return proposals

    def asked(self, id, genes, memo):
        """A candidate was really handed out, with these genes."""

    def tell(self, id, genes, outcome):
        """Values are minimised; a higher rung outranks any value of a lower one."""
        if not outcome.failed and (self.best is None or (-outcome.rung, outcome.values) < self.best[:2]):
            self.best = (-outcome.rung, outcome.values, genes)
