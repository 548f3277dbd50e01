"""`pqsearch check` and `pqsearch evaluate`: what can be said of a spec or a run without searching."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pqsearch.errors import UserError
from pqsearch.estimate import estimate, time_table
from pqsearch.open_study import target_of
from pqsearch.pipeline import bare_model
from pqsearch.plan import Plan
from pqsearch.plan_file import read_recipe
from pqsearch.prepare import Prepared, prepare
from pqsearch.rebuild import module_of
from pqsearch.run_dir import RunDirectory, is_run
from pqsearch.spec import Spec, load_spec
from pqsearch.store_session import examine
from pqsearch.summary import warnings
from pqsearch.tables import budgets_table, layers_table
from trainers.device import pick, set_threads
from trainers.full import evaluate_test
from trainers.measure import measure


def check(spec: Spec, *, measure_time: bool = False, say: Callable[[str], None] = print) -> Prepared:
    """Validate a spec against its data, model and budgets; says what was found. Raises `UserError` with all problems."""
    prepared = prepare(spec)
    run = RunDirectory.of(spec)
    if run.store is not None:
        examine(run.store)
        run.bring(run.spec.name, run.latency.name, run.database.name)
    if run.spec.is_file():
        run.compare(spec)
    dataset, splits, space = prepared.dataset, prepared.splits, prepared.space
    say(
        f"data     {dataset.origin}: {len(splits.train)} images train, {len(splits.score)} score, {len(splits.select)} "
        f"select, {len(dataset.test_labels)} test, {len(dataset.classes)} classes, shape {dataset.input_shape}"
    )
    say(layers_table(prepared.info))
    free = sum(levels > 1 for levels in space.levels)
    size = sum(math.log10(levels) for levels in space.levels)
    say(f"space    {free} knobs that vary, about 10^{size:.0f} plans")
    if space.latency is not None:
        milliseconds = space.costs_of(Plan())["latency_ms"]
        say(
            f"latency  {milliseconds:.4g} ms for an image of the float network, by {spec.latency.table} ({space.latency.words})"
        )
    if spec.target is None or spec.budgets:
        say(budgets_table(space.reach(), spec.budgets))
    if spec.target is not None:
        target = target_of(spec, prepared.info)
        assert target is not None
        say(
            f"target   the least {spec.target.minimize} that loses at most {spec.target.max_drop:g} points; plans reach "
            f"{target.low:.6g} to {target.high:.6g}"
        )
    for text in warnings(spec, len(prepared.splits.train)):
        say(f"warning  {text}")
    if measure_time:
        say(time_table(estimate(prepared), spec.workers.price))
        if spec.reconstruction is not None:
            say(f"time     not in these: reconstruction by {spec.reconstruction.calibrator} before each full fine-tune")
    say("check    passed: nothing was trained")
    return prepared


def network_of(target: str | Path, overrides: Sequence[str] = ()) -> tuple[Prepared, nn.Module]:
    """A run's exported network, or the one of a spec with `model.weights`. Raises `UserError` where there is none."""
    if is_run(target):
        run = RunDirectory.existing(target)
        if not run.model.is_file():
            raise UserError(f"{target}: has no model.pth yet; `pqsearch run` or `pqsearch export` writes it")
        plan, data = read_recipe(run.plan)
        prepared = prepare(run.read_spec(overrides))
        return prepared, module_of(plan, data, run.model)
    spec = load_spec(target, overrides)
    prepared = prepare(spec)
    return prepared, bare_model(spec, prepared)


def evaluate(target: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Test accuracy and costs of a run's network, rebuilt from plan.json and model.pth alone, or of a spec's weights."""
    prepared, model = network_of(target, overrides)
    spec = prepared.spec
    set_threads(spec.workers.count * spec.workers.cpus)
    device = pick(spec.workers.gpus)
    return {
        **evaluate_test(model.to(device), prepared.dataset, device, task=prepared.task),
        "measured": measure(model, prepared.dataset.input_shape),
    }
