"""pqsearch: per-layer pruning and bit widths for trained CNNs, searched under budgets.

Importing this package imports neither torch nor ray; what needs them is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Box",
    "Plan",
    "Spec",
    "Study",
    "UserError",
    "as_sampler",
    "compress",
    "correlate",
    "fetch",
    "load",
    "load_fixed_point",
    "load_integers",
    "load_spec",
    "measure_latency",
    "ptq",
    "repair",
    "resolve",
    "run",
    "select",
    "submit",
]

_HOMES = {
    "Box": "pqsearch.box",
    "Plan": "pqsearch.plan",
    "Spec": "pqsearch.spec",
    "Study": "pqsearch.study",
    "UserError": "pqsearch.errors",
    "as_sampler": "pqsearch.optuna_sampler",
    "compress": "pqsearch.in_memory",
    "correlate": "pqsearch.correlating",
    "fetch": "cluster.service",
    "load": "pqsearch.rebuild",
    "load_fixed_point": "pqsearch.fixed_pointing",
    "load_integers": "pqsearch.fixed_pointing",
    "load_spec": "pqsearch.spec",
    "measure_latency": "pqsearch.latency",
    "ptq": "pqsearch.post_training",
    "repair": "pqsearch.repairing",
    "resolve": "pqsearch.resolving",
    "run": "pqsearch.pipeline",
    "select": "pqsearch.choose",
    "submit": "cluster.service",
}

if TYPE_CHECKING:
    from cluster.service import fetch, submit
    from pqsearch.box import Box
    from pqsearch.choose import select
    from pqsearch.correlating import correlate
    from pqsearch.errors import UserError
    from pqsearch.fixed_pointing import load_fixed_point, load_integers
    from pqsearch.in_memory import compress
    from pqsearch.latency import measure_latency
    from pqsearch.optuna_sampler import as_sampler
    from pqsearch.pipeline import run
    from pqsearch.plan import Plan
    from pqsearch.post_training import ptq
    from pqsearch.rebuild import load
    from pqsearch.repairing import repair
    from pqsearch.resolving import resolve
    from pqsearch.spec import Spec, load_spec
    from pqsearch.study import Study


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
