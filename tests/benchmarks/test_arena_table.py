"""The arena's runs as a table for documents."""

from __future__ import annotations

import numpy as np
from algorithms import Curve, Job
from arena_bars import FLAGSHIP
from arena_table import lines


def _runs(contender: str, *values: float, evaluations: int = 300) -> list[Curve]:
    jobs = [Job("x.py", contender, "repair", False, evaluations, seed) for seed in range(len(values))]
    return [
        Curve(job, [None if np.isinf(value) else value] * evaluations, evaluations, evaluations, 0, 1.0)
        for job, value in zip(jobs, values, strict=True)
    ]


def test_rows_are_medians_and_quartiles_best_first_and_blank_where_nobody_went_so_far() -> None:
    runs = [
        *_runs("optuna_tpe", 0.5, 0.25, 0.125),
        *_runs(FLAGSHIP, -0.5, -0.25, 0.0),
        *_runs("mealpy_ga", 0.125, np.inf, np.inf),
        *_runs("optuna_gp", 0.5, evaluations=100),
    ]
    assert list(lines(runs, [100, 300])) == [
        "| contender | arm | n | 100 | 300 |",
        "|---|---|---|---|---|",
        f"| **{FLAGSHIP}** | ours | 3 | -0.250 [-0.375, -0.125] | -0.250 [-0.375, -0.125] |",
        "| optuna_tpe | repair | 3 | 0.250 [0.188, 0.375] | 0.250 [0.188, 0.375] |",
        "| mealpy_ga | repair | 3 | none held the budgets | none held the budgets |",
        "| optuna_gp | repair | 1 | 0.500 [0.500, 0.500] |  |",
    ]
