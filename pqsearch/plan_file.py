"""Plan files: `plan.json`, and plans of a user's own that a study evaluates first. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.problem import Proposal

if TYPE_CHECKING:
    from search_spaces.space import Space


def read_recipe(path: str | Path) -> tuple[Plan, dict[str, Any]]:
    """A plan file, checked. Raises `UserError` for a missing, damaged or foreign file."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); `pqsearch run SPEC` writes plan.json") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not a plan file ({error}); a plan is the plan.json of a run") from None
    return Plan.from_json(data), data


def given_plans(paths: Sequence[str], space: Space) -> list[Proposal]:
    """The plans of `study.plans` at their nearest levels: as they are where they hold the budgets, else repaired.

    Raises `UserError` with what is wrong with any of the files.
    """
    problems: list[str] = []
    found = []
    for index, path in enumerate(paths):
        try:
            plan, _ = read_recipe(path)
            genes = space.encode(plan)
        except UserError as error:
            problems += [f"study.plans[{index}]: {problem}" for problem in error.problems]
            continue
        holds = bool((space.costs(np.array([genes]))[0] <= space.limits).all())
        found.append(Proposal(genes, {"role": "given"}, exact=holds))
    if problems:
        raise UserError(problems)
    return found
