"""How long a run will take: one of everything is done here, and timed."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pqsearch.open_study import probing, seeds
from pqsearch.plan import Change, Item, Plan
from pqsearch.prepare import Prepared
from pqsearch.spec_network import TrainSpec
from pqsearch.study_state import expected_repeats
from pqsearch.worker_words import estimate_line
from trainers.baseline import initial_model
from trainers.device import pick, set_threads
from trainers.full import time_step
from trainers.proxy import Context, evaluate, gradient_batch, make_context

TIMED_STEPS = 8


def estimate(prepared: Prepared) -> dict[str, float]:
    """Seconds that each stage of a run will take on the asked workers, from one evaluation measured here; those of the search are with
    those of "sensitivity", which comes before its plans. Under "workers" those of all workers together in evaluations and full fine-tunes.
    """
    spec = prepared.spec
    set_threads(spec.workers.cpus)
    device = pick(spec.workers.gpus)
    plan = prepared.space.decode(seeds(prepared.space)[0].genes)
    with tempfile.TemporaryDirectory() as folder:
        baseline = Path(folder) / "baseline.pth"
        torch.save(initial_model(spec, prepared.dataset).state_dict(), baseline)
        context = make_context(spec, prepared.dataset, prepared.splits, baseline, Path(folder), device)
        _evaluation(context, plan, 0)  # pays for warming up
        one, phases = _evaluation(context, plan, 1)
        sensitivity = _sensitivity(context, prepared, plan)
        plan_step = time_step(context, plan, spec.finetune, TIMED_STEPS)
        # The baseline has the machine to itself.
        set_threads(spec.workers.count * spec.workers.cpus)
        float_step = time_step(context, None, spec.baseline, TIMED_STEPS)
    rungs, images, count = spec.rungs, len(prepared.splits.train), spec.workers.count
    score = phases["score"] / (len(rungs) * len(prepared.splits.score))
    calibrated = sum(min(rung.images, images) for index, rung in enumerate(rungs) if spec.calibrates(index))
    calibration = phases["calibrate"] * min(spec.calibration_images, images) / calibrated
    plans = one * (spec.study.evaluations + expected_repeats(spec.study.model_dump()))
    # One worker prices all changes by gradients, while the others wait.
    ahead = sensitivity / (1 if spec.sensitivity.source == "gradients" else count)
    search = plans / count + ahead
    if spec.study.hours:
        search = min(search, spec.study.hours * 3600)
    training = _training(prepared, spec.finetune, plan_step, score)
    if spec.reconstruction is None:
        training += calibration
    trainings = spec.finetune.top_k + (3 if spec.finetune.compare else 0)
    evaluations = min(plans + sensitivity, search * count)
    return {
        "one evaluation": one,
        "sensitivity": ahead,
        "baseline": _training(prepared, spec.baseline, float_step, score),
        "search": search,
        "finetune": training * math.ceil(trainings / spec.finetunes_at_once),
        "workers": evaluations + training * trainings * spec.finetune.workers,
    }


def _evaluation(context: Context, plan: Plan, repeat: int) -> tuple[float, Counter[str]]:
    """Seconds of a plan on all rungs, and by phase."""
    began, start, phases = time.monotonic(), None, Counter[str]()
    for rung in range(len(context.spec.rungs)):
        last = rung == len(context.spec.rungs) - 1
        result = evaluate(context, Item(0, "candidate", plan, rung, repeat, start, last))
        start = result.weights
        phases.update(result.seconds)
    return time.monotonic() - began, phases


def _training(prepared: Prepared, settings: TrainSpec, step: float, score: float) -> float:
    """Seconds of a training whose steps take `step` and whose scored images take `score`: selecting after every epoch, and one test."""
    splits = prepared.splits
    steps = settings.epochs * math.ceil(len(splits.train) / settings.batch_size)
    scored = len(splits.select) * (settings.epochs + 1) + len(prepared.dataset.test_labels)
    return steps * step + scored * score


def _sensitivity(context: Context, prepared: Prepared, plan: Plan) -> float:
    """Worker seconds of what is found out of single knobs before plans are searched."""
    asked = probing(context.spec, prepared.space)
    if asked is None:
        return 0.0
    if asked.source == "table":
        began = time.monotonic()
        evaluate(context, Item(-1, "probe", plan, 0))
        return (time.monotonic() - began) * len(asked.ids)
    changes, batch = tuple(probe.change for probe in asked.probes), gradient_batch(context)
    images = min(context.spec.sensitivity.images, len(context.train))
    # The first batch fits the grids of the weights, which serve for all.
    first = _gradients(context, plan, changes, min(batch, images))
    if images <= batch:
        return first
    another = max(0.0, _gradients(context, plan, changes, min(2 * batch, images)) - first)
    return first + (math.ceil(images / batch) - 1) * another


def _gradients(context: Context, plan: Plan, changes: tuple[Change, ...], images: int) -> float:
    fewer = context.spec.sensitivity.model_copy(update={"images": images})
    context = replace(context, spec=context.spec.model_copy(update={"sensitivity": fewer}))
    began = time.monotonic()
    evaluate(context, Item(-1, "gradients", plan, 0, changes=changes))
    return time.monotonic() - began


def time_table(seconds: Mapping[str, float], price: float | None = None) -> str:
    """What `estimate` gives, for reading; `price` is that of a worker hour."""
    lines = [f"time     {key}: {value:.1f} s" for key, value in seconds.items() if key != "workers"]
    total = sum(seconds[stage] for stage in ("baseline", "search", "finetune"))
    lines.append(f"time     whole run: about {total / 60:.1f} min on the asked workers")
    return "\n".join([*lines, f"workers  {estimate_line(seconds['workers'], price)}"])
