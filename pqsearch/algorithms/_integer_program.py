"""The plan of least expected damage: an integer program over levels, solved again around each of its own answers.

Choose one level per knob so that the sum of the prior is smallest and every budget holds (the formulation of Yao et al.,
HAWQ-V3, ICML 2021), by `scipy.optimize.milp`. Costs of pruned shapes are products and mean bits are ratios, so each budget is
replaced by its change when one knob moves alone from the current plan; the answer is repaired and the program solved again
around it, until a plan comes back.
"""

from __future__ import annotations

import numpy as np

from pqsearch.algorithms._quiet import without_lines
from pqsearch.problem import FloatArray, IntArray, Prior, Problem

#: Linearisations before the best plan so far has to do.
ROUNDS = 12
#: An answer this close to the best bound is good enough: the prior is far less exact.
GAP = 1e-3
#: Branch-and-bound nodes of one solve; unlike seconds they are the same on every machine.
NODES = 2000
#: How lines begin that HiGHS prints now and then although it was asked to be silent.
SOLVERS_OWN = b"HighsMipSolverData::"


def damage(prior: Prior, genes: IntArray) -> FloatArray:
    """The prior's sum over the knobs of each plan (plans,)."""
    return np.sum([np.asarray(costs)[genes[:, knob]] for knob, costs in enumerate(prior)], axis=0)


def _least_of_each(prior: Prior) -> IntArray | None:
    """Where nothing limits the knobs, the best level of each (knobs,); None where equals leave it to the solver."""
    if any(list(costs).count(min(costs)) > 1 for costs in prior):
        return None
    return np.array([int(np.argmin(costs)) for costs in prior], dtype=np.int64)


def planned(problem: Problem) -> IntArray:
    """Plans (plans, knobs) of least damage by the problem's prior, best first: those that it has, or solved for here."""
    assert problem.prior is not None
    return problem.planned if problem.planned is not None else least_damage(problem, problem.prior)


def least_damage(problem: Problem, prior: Prior, start: IntArray | None = None) -> IntArray:
    """Repaired genes (plans, knobs) found on the way from `start` (knobs,), else from the dearest plan; of least damage first."""
    # Half a second that every process which only names an algorithm would wait.
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array, csr_array

    levels = np.asarray(problem.levels, dtype=np.int64)
    knobs = np.repeat(np.arange(len(levels)), levels)
    rungs = np.concatenate([np.arange(count) for count in levels])
    worth = np.concatenate([np.asarray(costs, dtype=np.float64) for costs in prior])
    one_each = csr_array(coo_array((np.ones(len(knobs)), (knobs, np.arange(len(knobs))))))
    current = problem.repair((levels - 1 if start is None else start)[None])[0]
    free = None if len(problem.limits) else _least_of_each(prior)
    if free is not None:
        free = problem.repair(free[None])[0]
        plans = np.stack([free] if (free == current).all() else [current, free])
        return plans[np.argsort(damage(prior, plans), kind="stable")]
    # In units of the limits: rows of like size keep the solver's arithmetic sound.
    units = np.where(problem.limits > 0, problem.limits, 1.0)
    found: dict[tuple[int, ...], IntArray] = {tuple(current.tolist()): current}
    for _ in range(ROUNDS):
        moved = np.tile(current, (len(knobs), 1))
        moved[np.arange(len(knobs)), knobs] = rungs
        base = problem.costs(current[None])[0]
        changes = (problem.costs(moved) - base) / units
        constraints = [LinearConstraint(one_each, 1, 1)]
        if len(problem.limits):
            constraints.append(LinearConstraint(changes.T, -np.inf, np.maximum((problem.limits - base) / units, 0)))
        with without_lines(SOLVERS_OWN):
            answer = milp(
                worth,
                integrality=np.ones(len(knobs)),
                bounds=Bounds(0, 1),
                constraints=constraints,
                options={"mip_rel_gap": GAP, "node_limit": NODES},
            )
        if answer.x is None:
            break
        chosen = np.flatnonzero(answer.x > 0.5)
        wanted = current.copy()
        wanted[knobs[chosen]] = rungs[chosen]
        current = problem.repair(wanted[None])[0]
        if tuple(current.tolist()) in found:
            break
        found[tuple(current.tolist())] = current
    plans = np.stack(list(found.values()))
    return plans[np.argsort(damage(prior, plans), kind="stable")]
