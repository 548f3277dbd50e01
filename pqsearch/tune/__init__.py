"""The only code that speaks to Ray: a study actor, workers that are long-lived Tune trials, and their scheduler.

For a Tuner of one's own: `as_searcher` and `as_scheduler`, which load Ray on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {"as_scheduler": "pqsearch.tune.population", "as_searcher": "pqsearch.tune.searcher"}

if TYPE_CHECKING:
    from pqsearch.tune.population import as_scheduler as as_scheduler
    from pqsearch.tune.searcher import as_searcher as as_searcher


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
