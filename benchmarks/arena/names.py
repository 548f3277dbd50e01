"""Who may enter the arena. A peer's library is imported when that peer begins, so that the others need not be installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from arena.contest import Contender, Objective
from arena.ours import ours
from pqsearch import rooms
from pqsearch.problem import Problem

#: Peers: a module here, and the contender in it.
PEERS = {
    "optuna_tpe": ("optuna_peers", "tpe"),
    "optuna_nsga2": ("optuna_peers", "nsga2"),
    "optuna_cmaes": ("optuna_peers", "cmaes"),
    "optuna_gp": ("optuna_peers", "gp"),
    "pymoo_ga": ("pymoo_peers", "ga"),
    "pymoo_nsga2": ("pymoo_peers", "nsga2"),
    "mealpy_ga": ("mealpy_peers", "ga"),
    "mealpy_pso": ("mealpy_peers", "pso"),
    "mealpy_abc": ("mealpy_peers", "abc"),
    "mealpy_acor": ("mealpy_peers", "acor"),
    "nevergrad_ngopt": ("nevergrad_peers", "ngopt"),
}
#: Peers that settle how they search by the number of evaluations they are to have; all others only end there.
TOLD_EVALUATIONS = frozenset({"nevergrad_ngopt"})
#: Evaluations beyond which a peer is not asked: an exact Gaussian process costs their cube.
MOST_EVALUATIONS = {"optuna_gp": 300}
#: Seeds beyond which a peer is not run, for the same reason.
MOST_SEEDS = {"optuna_gp": 5}
IN_FLIGHT = 16


def contenders(seconds: Sequence[float] = ()) -> dict[str, Contender]:
    """Contenders by name. With measured seconds of evaluations also ours with many candidates in flight, as `name@16`."""
    found = {name: ours(name) for name in rooms.names("algorithms")}
    if len(seconds):
        found |= {f"{name}@{IN_FLIGHT}": ours(name, seconds, IN_FLIGHT) for name in rooms.names("algorithms")}
    return found | {name: _late(*place) for name, place in PEERS.items()}


def _late(module: str, name: str) -> Contender:
    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        getattr(import_module(f"arena.{module}"), name)(problem, objective, evaluations, seed)

    return contend
