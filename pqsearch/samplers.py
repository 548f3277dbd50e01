"""Optuna's samplers by name, for `[algorithm] name = "optuna:GPSampler"`. Optuna is imported when one is asked for."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pqsearch import rooms

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

#: Samplers that cannot search here, and why.
UNFIT = {
    "CmaEsSampler": " (it keeps its state as a pickle, which no journal of ours holds)",
    "BruteForceSampler": " (it lists every plan there is)",
    "GridSampler": " (it lists every plan there is)",
}


#: Those that know what to do with several objectives.
SEVERAL = ("NSGAIISampler", "NSGAIIISampler", "QMCSampler", "RandomSampler", "TPESampler")


def samplers() -> tuple[str, ...]:
    """Those that their seed, a history and their notes on it describe in full, so that a killed search goes on alike."""
    import optuna

    found = {name: getattr(optuna.samplers, name) for name in optuna.samplers.__all__ if name not in UNFIT}
    return tuple(
        sorted(
            name
            for name, entry in found.items()
            if inspect.isclass(entry)
            and not inspect.isabstract(entry)
            and "seed" in inspect.signature(entry).parameters
        )
    )


def make_sampler(name: str, options: Mapping[str, Any], seed: int) -> BaseSampler:
    """A sampler by its class name, silent about being experimental."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made: BaseSampler = getattr(optuna.samplers, name)(seed=seed, **options)
    return made


def sampler_problems(name: str, options: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the sampler `name` and its arguments, one line per problem."""
    import optuna

    known = samplers()
    if name not in known:
        hint = UNFIT.get(name, "") or rooms.nearest(name, known, most=3)
        yield f"{where}.name: optuna:{name} cannot be used{hint}, choose from {', '.join(known)}"
        return
    arguments = [key for key in inspect.signature(getattr(optuna.samplers, name)).parameters if key != "seed"]
    unknown = [key for key in options if key not in arguments]
    for key in unknown:
        yield f"{where}.{key}: unknown argument of {name!r}, choose from {', '.join(arguments) or 'none: it has none'}"
    if not unknown:
        try:
            make_sampler(name, options, 0)
        except Exception as error:
            reason = " ".join(str(error).split())
            yield f"{where}.name: optuna:{name} cannot be made with {dict(options)}: {type(error).__name__}: {reason}"
