"""`pqsearch apply PLAN SPEC`: a plan put on other weights of the same network, calibrated and not trained. No Ray."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.plan import ModelInfo, Plan
from pqsearch.plan_file import read_recipe
from pqsearch.prepare import prepare
from pqsearch.rebuild import recipe
from pqsearch.run_dir import writable, write_atomically
from pqsearch.spec import Spec
from trainers.baseline import initial_model
from trainers.data import Loader
from trainers.device import pick, set_threads
from trainers.loop import evaluate
from trainers.measure import measure
from trainers.proxy import calibrate, compressed, make_context


def apply_plan(plan_file: str | Path, spec: Spec, out: str | Path) -> dict[str, Any]:
    """Write `plan.json` and the weights in every format of the spec into the folder `out`; returns accuracies and costs.

    Accuracies are of the select slice: test images are for what is reported at the end. Raises `UserError` for a plan of another
    network, naming the first layer or group that differs, for a spec without `model.weights`, and for a folder in use.
    """
    plan, _ = read_recipe(plan_file)
    if spec.model.weights is None:
        raise UserError("model.weights: is required to apply a plan, got nothing; name the state dict to compress")
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--out {out}: is not empty; give a new folder")
    prepared = prepare(spec)
    _check(plan, plan_file, prepared.info)
    set_threads(spec.workers.count * spec.workers.cpus)
    device = pick(spec.workers.gpus)
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch) / "weights.pth"
        torch.save(initial_model(spec, prepared.dataset).state_dict(), weights)
        context = make_context(spec, prepared.dataset, prepared.splits, weights, folder, device)
    select = Loader(prepared.dataset, prepared.splits.select, device)
    before, _ = evaluate(context.baseline, select, context.task)
    model = compressed(context, plan).to(device)
    calibrate(context, model, spec.calibration_images)
    after, _ = evaluate(model, select, context.task)
    costs = measure(model, prepared.dataset.input_shape)
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in spec.export.formats:
            rooms.load("exporters", name)(model.cpu(), folder)
        # The plan last: a folder that has one is whole.
        write_atomically(folder / "plan.json", json.dumps(recipe(spec, plan, prepared.dataset), indent=2) + "\n")
    return {
        "baseline_accuracy": float(before.mean()),
        "accuracy": float(after.mean()),
        "images": len(after),
        "measured": costs,
    }


def plan_of(plan_file: str | Path, info: ModelInfo) -> Plan:
    """A plan file for this network. Raises `UserError` for one of another."""
    plan, _ = read_recipe(plan_file)
    _check(plan, plan_file, info)
    return plan


def _check(plan: Plan, plan_file: str | Path, info: ModelInfo) -> None:
    if problem := plan_problem(plan, info):
        raise UserError(f"{plan_file}: {problem}")


def plan_problem(plan: Plan, info: ModelInfo) -> str | None:
    """Why a plan is not one of this network, by the first name that differs; None where it fits."""
    layers = {layer.name for layer in info.layers}
    groups = {group.name: group for group in info.groups}
    for name in plan.layers:
        if name not in layers:
            return f"is of another network: this one has no layer {name}"
    for name, rate in plan.groups.items():
        if name not in groups:
            return f"is of another network: this one has no group {name}"
        if rate and not groups[name].prunable:
            return f"prunes {name}, which cannot be pruned here: {groups[name].reason}"
    return None
