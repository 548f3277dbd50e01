"""`pqsearch check` and `pqsearch evaluate`: what can be said of a spec or a run without searching."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pqsearch.errors import UserError
from pqsearch.open_study import seeds, target_of
from pqsearch.pipeline import bare_model
from pqsearch.plan import Item, Plan
from pqsearch.plan_file import read_recipe
from pqsearch.prepare import Prepared, prepare
from pqsearch.rebuild import module_of
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, load_spec
from pqsearch.store_session import examine
from pqsearch.store_url import is_url
from pqsearch.study_state import expected_repeats
from pqsearch.summary import warnings
from pqsearch.tables import budgets_table, layers_table
from pqsearch.worker_words import estimate_line
from trainers.baseline import initial_model
from trainers.device import pick, set_threads
from trainers.full import evaluate_test
from trainers.measure import measure

TIMED_STEPS = 8


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
    for text in warnings(spec):
        say(f"warning  {text}")
    if measure_time:
        say(time_table(estimate(prepared), spec.workers.price))
    say("check    passed: nothing was trained")
    return prepared


def estimate(prepared: Prepared) -> dict[str, float]:
    """Seconds that each stage of a run will take on the asked workers, from one evaluation measured here; under "workers"
    those of all workers together in evaluations and full fine-tunes.
    """
    from trainers.full import time_step
    from trainers.proxy import evaluate as evaluate_item
    from trainers.proxy import make_context

    spec = prepared.spec
    set_threads(spec.workers.cpus)
    device = pick(spec.workers.gpus)
    plan = prepared.space.decode(seeds(prepared.space)[0].genes)
    with tempfile.TemporaryDirectory() as folder:
        baseline = Path(folder) / "baseline.pth"
        torch.save(initial_model(spec, prepared.dataset).state_dict(), baseline)
        context = make_context(spec, prepared.dataset, prepared.splits, baseline, Path(folder), device)
        one = 0.0
        for repeat in range(2):  # the first one pays for warming up
            began = time.monotonic()
            start = None
            for rung in range(len(spec.rungs)):
                last = rung == len(spec.rungs) - 1
                result = evaluate_item(context, Item(0, "candidate", plan, rung, repeat, start, last))
                start = result.weights
            one = time.monotonic() - began
        plan_step = time_step(context, plan, spec.finetune.batch_size, TIMED_STEPS)
        # The baseline has the machine to itself.
        set_threads(spec.workers.count * spec.workers.cpus)
        float_step = time_step(context, None, spec.baseline.batch_size, TIMED_STEPS)
    images, count = len(prepared.splits.train), spec.workers.count
    confirms = expected_repeats(spec.study.model_dump())
    search = one * (spec.study.evaluations + confirms) / count
    if spec.study.hours:
        search = min(search, spec.study.hours * 3600)
    steps = spec.finetune.epochs * math.ceil(images / spec.finetune.batch_size)
    trainings = spec.finetune.top_k + (3 if spec.finetune.compare else 0)
    return {
        "one evaluation": one,
        "baseline": spec.baseline.epochs * math.ceil(images / spec.baseline.batch_size) * float_step,
        "search": search,
        "finetune": steps * plan_step * math.ceil(trainings / count),
        "workers": search * count + steps * plan_step * trainings,
    }


def time_table(seconds: Mapping[str, float], price: float | None = None) -> str:
    """What `estimate` gives, for reading; `price` is that of a worker hour."""
    lines = [f"time     {key}: {value:.1f} s" for key, value in seconds.items() if key != "workers"]
    total = sum(seconds[stage] for stage in ("baseline", "search", "finetune"))
    lines.append(f"time     whole run: about {total / 60:.1f} min on the asked workers")
    return "\n".join([*lines, f"workers  {estimate_line(seconds['workers'], price)}"])


def network_of(target: str | Path, overrides: Sequence[str] = ()) -> tuple[Prepared, nn.Module]:
    """A run's exported network, or the one of a spec with `model.weights`. Raises `UserError` where there is none."""
    path = Path(target)
    if is_url(target) or path.is_dir():
        run = RunDirectory.existing(target)
        if not run.model.is_file():
            raise UserError(f"{target}: has no model.pth yet; `pqsearch run` or `pqsearch export` writes it")
        plan, data = read_recipe(run.plan)
        prepared = prepare(run.read_spec())
        return prepared, module_of(plan, data, run.model)
    spec = load_spec(path, overrides)
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
