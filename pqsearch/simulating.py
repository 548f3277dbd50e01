"""`pqsearch simulate`: a spec's search on made-up workers, for one algorithm or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pqsearch.errors import UserError
from pqsearch.journal.memory import MemoryJournal
from pqsearch.open_study import make_study
from pqsearch.plan import ModelInfo
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.simulated_landscapes import MadeUp, fitted, pace_of
from pqsearch.simulator import Clock, Landscape, Pace, Simulated, simulate
from pqsearch.spec import Spec, parse_spec
from pqsearch.study import read_study
from pqsearch.summary import noise_of
from pqsearch.tables import text_table

#: How far evaluations of one kind differ from each other: the standard deviation of the logarithm of their seconds.
SPREAD = 0.1
DRAWS = 1000


def simulate_spec(
    spec: Spec,
    workers: int,
    evaluations: int,
    *,
    like: str | Path | None = None,
    seconds: float | None = None,
    failures: float | None = None,
    start: float = 0.0,
    algorithms: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Simulated]:
    """What a spec's search would be like on so many workers, by algorithm (the spec's own unless others are named).

    `like` is a run of the same spec: its seconds, failures and scores are those of the simulation. Without it every rung takes
    about `seconds` and what plans are worth is made up. Raises `UserError`.
    """
    problems = [
        f"{name}: must be {words}, got {value}"
        for name, value, low, high, words in (
            ("--workers", workers, 1, 100_000, "1 to 100,000"),
            ("--evaluations", evaluations, 1, 10_000_000, "1 to 10,000,000"),
            ("--seconds", seconds, 1e-6, 1e9, "above 0"),
            ("--failures", failures, 0, 1, "0 to 1"),
            ("--start", start, 0, 1e9, "0 or more"),
        )
        if value is not None and not low <= value <= high
    ]
    if like is None and seconds is None:
        problems.append("--seconds: is required without --like RUN_DIR; say how long one rung takes")
    if spec.target is not None:
        problems.append("target: a simulated plan is compared with no baseline; simulate without [target]")
    if problems:
        raise UserError(problems)
    run = RunDirectory.existing(like) if like is not None else None
    info = ModelInfo.from_json(run.read(run.layers)) if run is not None else prepare(spec).info
    rows = read_study(run.journal).candidates() if run is not None else []
    noise = noise_of(rows)
    found = {}
    for name in algorithms or (spec.algorithm.name,):
        mine = _with(spec, name, evaluations)
        clock = Clock()
        study = make_study(mine, info, MemoryJournal(clock), clock)
        levels = study.space.levels
        rungs = len(spec.rungs)
        if run is not None:
            landscape: Landscape = fitted(levels, rows)
            pace = pace_of(rows, rungs, noise["standard_deviation"] if noise else None)
        else:
            landscape = MadeUp(levels, seed)
            pace = Pace([[1.0]] * rungs)
        if seconds is not None:
            drawn = seconds * np.exp(SPREAD * np.random.default_rng(seed).standard_normal(DRAWS))
            pace = replace(pace, seconds=[drawn.tolist()] * rungs)
        pace = replace(pace, start=start, failures=pace.failures if failures is None else failures)
        found[name] = simulate(study, clock, workers, pace, landscape, seed)
    return found


def _with(spec: Spec, algorithm: str, evaluations: int) -> Spec:
    values = spec.to_dict()
    if algorithm != spec.algorithm.name:
        values["algorithm"] = {"name": algorithm}
    values["study"] = {**values["study"], "evaluations": evaluations}
    return parse_spec(values)


def simulated_table(found: dict[str, Simulated], price: float | None = None) -> str:
    """For reading: time, how busy, what the study cost, and how the best plan came along."""
    heads = ["algorithm", "evaluations", "hours", "busy", "worker hours", "study ms", *(["cost"] if price else [])]
    heads += ["best after 10 %", "30 %", "100 %"]
    rows = []
    for name, one in found.items():
        each = 1000 * one.study_seconds / max(1, one.evaluations)
        row = [name, str(one.evaluations), f"{one.wall / 3600:.2f}", f"{100 * one.busy:.1f}%"]
        row += [f"{one.worker_seconds / 3600:.1f}", f"{each:.3f}"]
        if price:
            row.append(f"{price * one.workers * one.wall / 3600:.2f}")
        for share in (0.1, 0.3, 1.0):
            known = [accuracy for done, _, accuracy in one.best if done <= share * one.evaluations + 1]
            row.append(f"{known[-1]:.4f}" if known else "")
        rows.append(row)
    return text_table(heads, rows)
