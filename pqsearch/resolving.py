"""A plan for other budgets from the evaluations of a run: forecast, solved for, then measured by the workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pqsearch.choose import check_costs
from pqsearch.errors import UserError
from pqsearch.forecast import FEWEST, Expected, forecast_of
from pqsearch.plan import ModelInfo, Plan
from pqsearch.run_dir import RunDirectory
from pqsearch.space_of import space_of
from pqsearch.spec import Spec, parse_spec
from pqsearch.study import read_study
from pqsearch.study_state import StudyState
from search_spaces.space import Space

#: Limits that a forecast looks at, in units of the search's own.
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)


def resolve(run_dir: str | Path, budgets: Mapping[str, float], *, evaluate: bool = True) -> dict[str, Any]:
    """The plan of a run's model that is expected to do best under `budgets`; those of the run's own that are not named hold too.

    Returns `plan`, `costs`, the predicted `accuracy` with `low` and `high` (95 %, of the proxy's score), `evaluations` behind
    it, and `measured`: None, or what workers measured of the plan, a row as of `Study.candidates`. They do that in a run
    directory of its own, `run_dir`, below the first one: the same call again measures nothing twice, and `pqsearch run` on its
    `spec` fine-tunes and exports the plan. Raises `UserError` for unknown costs, budgets that no plan holds, and
    too few evaluations.
    """
    run = RunDirectory.existing(run_dir)
    check_costs(budgets, run.read_spec())
    state = read_study(run.journal) if run.journal.exists() else None
    spec = _spec(run.read_spec(), budgets)
    info = ModelInfo.from_json(run.read(run.layers)) if run.layers.is_file() else None
    if state is None or info is None:
        raise UserError(f"{run.path}: no plan is evaluated yet; `pqsearch search` evaluates some")
    space = space_of(spec, info)
    found = forecast_of(space.levels, state.prior, state.candidates())
    if found is None:
        raise UserError(
            f"{run.path}: {state.done} plans are evaluated, a forecast needs {FEWEST}; let the search go on"
        )
    expected = found.best(space)
    plan = space.decode(expected.genes)
    name = f"resolved/{_words(budgets)}-{plan.hash[:8]}"
    return {
        **_plain(expected, space),
        "budgets": dict(spec.budgets),
        "evaluations": state.done,
        "run_dir": run.below(name),
        "spec": str(RunDirectory(run.below(name)).spec),
        "measured": _measure(run, spec, plan, name) if evaluate else None,
    }


def sweep(state: StudyState, spec: Spec, info: ModelInfo) -> list[dict[str, Any]]:
    """What may be had when one budget is moved and the others stay: `budget`, `limit`, plan, costs and predicted accuracy.

    Limits go from half of the search's own to half as much again; those that no plan reaches, also with the rest, are left out.
    """
    if not spec.budgets:
        return []
    searched = space_of(spec, info)
    found = forecast_of(searched.levels, state.prior, state.candidates())
    if found is None:
        return []
    rows = []
    for name, (low, high) in searched.reach().items():
        for factor in FACTORS:
            limit = float(f"{factor * spec.budgets[name]:.4g}")
            if not low <= limit <= high:
                continue
            try:
                space = space_of(_spec(spec, {name: limit}), info)
            except UserError:
                continue
            rows.append({"budget": name, "limit": limit, **_plain(found.best(space), space)})
    return rows


def _plain(expected: Expected, space: Space) -> dict[str, Any]:
    plan = space.decode(expected.genes)
    return {
        "plan": plan.to_json(),
        "costs": space.costs_of(plan),
        "accuracy": expected.accuracy,
        "low": expected.low,
        "high": expected.high,
    }


def _spec(spec: Spec, budgets: Mapping[str, float]) -> Spec:
    return parse_spec({**spec.to_dict(), "budgets": {**spec.budgets, **budgets}})


def _words(budgets: Mapping[str, float]) -> str:
    return "_".join(f"{name}-{limit:g}" for name, limit in sorted(budgets.items())) or "same"


def _measure(run: RunDirectory, spec: Spec, plan: Plan, name: str) -> dict[str, Any]:
    """Let workers measure one plan, as often as a search measures its leaders, from the same baseline."""
    from pqsearch.pipeline import opened

    file = run.path / f"{name}.json"
    run.write(file, plan.to_json())
    with opened(_alone(spec, file, run.below(name))) as pipeline:
        pipeline.run.take_baseline(run)
        pipeline.search()
    (row,) = read_study(pipeline.run.journal).leading(1)
    return row


def _alone(spec: Spec, file: Path, run_dir: str) -> Spec:
    """A study of this one plan."""
    values = spec.to_dict()
    study = values["study"]
    kept = {key: study[key] for key in ("seed", "confirm_repeats") if key in study}
    values["study"] = {
        **kept,
        "name": f"{study['name']}-resolved",
        "run_dir": run_dir,
        "objectives": study["objectives"][:1],
        "plans": [str(file)],
        "evaluations": 1,
        "confirm": 1,
    }
    values.pop("target", None)
    values["sensitivity"] = {"source": "none"}
    values["algorithm"] = {"name": "random_search"}
    return parse_spec(values)
