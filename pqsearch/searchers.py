"""Tune's searchers by name, for `[algorithm] name = "tune:OptunaSearch"`, and why most of them cannot search here.

A searcher must be made anew for every candidate from a seed and shown the history, or a killed search would not go on
alike. Only `OptunaSearch` can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pqsearch import rooms

FIT = ("OptunaSearch",)
_HIDDEN = "takes results of its own suggestions only and keeps them in a pickle, which no journal of ours holds"
#: Those that cannot search here: why, and what comes nearest.
UNFIT = {
    "AxSearch": (_HIDDEN, "surrogate_exchange or optuna:GPSampler"),
    "BasicVariantGenerator": ("draws at random and learns nothing", "random_search"),
    "BayesOptSearch": ("searches floats without steps", "surrogate_exchange or optuna:GPSampler"),
    "ConcurrencyLimiter": ("wraps another searcher", "workers.count"),
    "HEBOSearch": (
        "draws from the random numbers that the whole process shares",
        "surrogate_exchange or optuna:GPSampler",
    ),
    "HyperOptSearch": (_HIDDEN, "tpe"),
    "NevergradSearch": (_HIDDEN, "genetic or particle_swarm"),
    "Repeater": ("wraps another searcher", "study.confirm_repeats"),
    "TuneBOHB": (_HIDDEN, "tpe"),
    "ZOOptSearch": (_HIDDEN, "surrogate_exchange"),
}


def searcher_problems(name: str, options: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the searcher `name` and its arguments, one line per problem."""
    if name in UNFIT:
        reason, instead = UNFIT[name]
        yield f"{where}.name: tune:{name} cannot be used: it {reason}; use {instead}"
    elif name not in FIT:
        hint = rooms.nearest(name, [*FIT, *UNFIT])
        yield f"{where}.name: tune:{name} is no searcher known here{hint}, choose from {', '.join(FIT)}"
    else:
        for key in options:
            yield f"{where}.{key}: unknown argument of {name!r}, it has none here; optuna:<Sampler> names a sampler with its own"
