"""How long a study goes on, and by what it ranks plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How long a study goes on. `confirm` leading plans are measured `confirm_repeats` times more, with fresh seeds, and
    `retest` plans spread over all scores once more. With a `generation` that many candidates are asked at once, and told
    together, in their order, when the last of them is done. A `target` has `max_drop`, in points, and the cost to `minimize`.

    `halving` has factor, kind and window (`pqsearch.halving`); without it every candidate climbs all rungs. `patience` candidates
    that better nothing end the search. `budgets` and `algorithm` may change when a study is continued: results stay, plans over
    the budgets of today do not count, and another algorithm is told what the ones before it found.
    """

    evaluations: int
    rungs: int = 1
    seed: int = 0
    confirm: int = 0
    confirm_repeats: int = 1
    retest: int = 0
    hours: float | None = None
    objectives: tuple[str, ...] = ("accuracy",)
    generation: int | None = None
    target: Mapping[str, Any] | None = None
    halving: Mapping[str, Any] | None = None
    patience: int | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    algorithm: Mapping[str, Any] = field(default_factory=dict)
