"""Tune's search spaces as knobs: what `param_space` may hold, and configurations from levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.search.sample import Categorical, Float, Integer, LogUniform, Quantized, Uniform
from ray.tune.search.variant_generator import parse_spec_vars
from ray.tune.utils.util import flatten_dict

from pqsearch.choices import Choices, stepped
from pqsearch.errors import UserError


def choices_of(space: Mapping[str, Any]) -> Choices:
    """The parameters of a space, nested ones as `outer/inner`; constants are left to Tune."""
    grids = parse_spec_vars(dict(space))[2]
    if grids:
        names = ", ".join("/".join(map(str, path)) for path, _ in grids)
        raise UserError(f"{names}: must not be tune.grid_search, which leaves nothing to search; use tune.choice")
    values = {}
    for path, domain in parse_spec_vars(flatten_dict(dict(space), prevent_delimiter=True))[1]:
        name = "/".join(map(str, path))
        if len(path) > 1:
            raise UserError(f"{name}: must not be in a list; give every parameter a name of its own")
        values[name] = _values_of(name, domain)
    return Choices(values)


def _values_of(name: str, domain: Any) -> Sequence[Any]:
    sampler = domain.get_sampler()
    step = sampler.q if isinstance(sampler, Quantized) else None
    shape = sampler.sampler if isinstance(sampler, Quantized) else sampler
    if isinstance(domain, Categorical):
        return domain.categories
    if isinstance(domain, Integer) and isinstance(shape, Uniform):
        if step in (None, 1):  # Tune's upper bound is then exclusive
            return range(domain.lower, domain.upper)
        return range(-(-domain.lower // step) * step, domain.upper + 1, step)
    if isinstance(domain, Float) and isinstance(shape, Uniform) and step is not None:
        # Tune's grid has the multiples of the step; a bound that is one within rounding counts.
        first, last = math.ceil(domain.lower / step - 1e-9), math.floor(domain.upper / step + 1e-9)
        return stepped(name, float(f"{first * step:.12g}"), float(f"{last * step:.12g}"), step)
    scale = "a log scale" if isinstance(shape, LogUniform) else f"{type(domain).__name__}{domain.domain_str}"
    raise UserError(
        f"{name}: must have a list of values, got {scale}; "
        "use tune.choice with the values in order, tune.randint, tune.qrandint or tune.quniform"
    )
