"""Pick a plan from those that a run has evaluated, under budgets that may be other than the search's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.room_problems import lacking
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.study import read_study


def select(run_dir: str | Path, budgets: Mapping[str, float]) -> dict[str, Any]:
    """The best evaluated candidate of a run whose costs are under `budgets`, as a row of `Study.candidates`.

    Candidates that were measured again come by the mean of their measurements. Raises `UserError` for costs that there are
    not, and when no plan is under all budgets: then it names the nearest one.
    """
    run = RunDirectory.existing(run_dir)
    check_costs(budgets, run.read_spec())
    state = read_study(run.journal) if run.journal.exists() else None
    rows = state.leading(len(state.by_id)) if state is not None else []
    if state is None or not rows:
        raise UserError(f"{run.path}: no plan is evaluated yet; `pqsearch search` evaluates some")
    # Without a limit on what the search kept low, the best score alone says little, but it is what was asked for.
    rows = sorted(rows, key=lambda row: state.score(row["id"]))
    for row in rows:
        if excess(row["costs"], budgets) <= 0:
            return row
    nearest = min(rows, key=lambda row: excess(row["costs"], budgets))
    found = " ".join(f"{name}={nearest['costs'][name]:.4g}" for name in budgets)
    asked = " ".join(f"{name}={limit:g}" for name, limit in budgets.items())
    raise UserError(
        f"--budget {asked}: none of the {len(rows)} evaluated plans is under it; the nearest is candidate {nearest['id']} "
        f"with {found} (accuracy {nearest['accuracy']:.3f}); loosen the budget, or search under it in another study.run_dir"
    )


def check_costs(budgets: Mapping[str, float], spec: Spec) -> None:
    """Raises `UserError` for budgets on costs that a run of `spec` does not have, and for limits that none can be, all of them
    at once.
    """
    costs = [name for name in rooms.names("budgets") if lacking(name, spec.to_dict()) is None]
    problems = [
        f"--budget {name}: {_unknown(name, costs)}, choose from {', '.join(costs)}"
        for name in budgets
        if name not in costs
    ]
    problems += [
        f"--budget {name}={limit}: the limit must be above 0 and finite"
        for name, limit in budgets.items()
        if not (isinstance(limit, (int, float)) and math.isfinite(limit) and limit > 0)
    ]
    if problems:
        raise UserError(problems)


def _unknown(name: str, costs: Sequence[str]) -> str:
    if name in rooms.names("budgets"):
        return "the run knows no such cost, as its spec names no measurements in [latency] table"
    return f"unknown cost{rooms.nearest(name, costs)}"


def excess(costs: Mapping[str, float], budgets: Mapping[str, float]) -> float:
    """By how much the worst of the budgets is exceeded, as a share of its limit; 0 or less if all hold."""
    return max((costs[name] / limit - 1 - 1e-9 for name, limit in budgets.items()), default=0.0)
