"""From `plan.json` and `model.pth` alone back to the compressed network. No Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.plan_file import read_recipe
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.spec_network import ModelSpec
from trainers import build
from trainers.compress import compress
from trainers.datasets._types import Dataset


def recipe(spec: Spec, plan: Plan, dataset: Dataset) -> dict[str, Any]:
    """The content of `plan.json`: the plan, and what it takes to rebuild the module around it."""
    return {
        **plan.to_json(),
        "model": {
            "name": spec.model.name,
            "options": spec.model.options,
            "output": spec.model.output,
            "folder": spec.model.folder,
            "classes": list(dataset.classes),
            "input_shape": list(dataset.input_shape),
        },
        "quantizer": {"name": spec.quantizer.name, "options": spec.quantizer.options},
        "sparsity_pattern": spec.space.sparsity_pattern,
        "normalization": {"mean": list(dataset.mean), "std": list(dataset.std)},
    }


def module_of(plan: Plan, data: dict[str, Any], weights: str | Path) -> nn.Module:
    """The compressed module of a recipe, with `weights` loaded, in eval mode."""
    missing = [key for key in ("model", "quantizer") if not isinstance(data.get(key), dict)]
    if missing:
        raise UserError(f"plan.{missing[0]}: is missing; only the plan.json of a finished run rebuilds a module")
    model, quantizer = data["model"], data["quantizer"]
    shape = tuple(model["input_shape"])
    named = {key: model[key] for key in ("name", "options", "output", "folder") if key in model}
    network = build.network(ModelSpec(**named), len(model["classes"]), shape)
    compressed = compress(
        network,
        plan,
        input_shape=shape,
        quantizer=quantizer["name"],
        quantizer_options=quantizer["options"],
        # Plans of before there was any have none. The masks themselves are among the weights.
        sparsity_pattern=data.get("sparsity_pattern", "layer"),
    )
    build.load_weights(compressed, weights)
    return compressed.eval()


def load(run_dir: str | Path) -> nn.Module:
    """The compressed module of a finished run, with its weights, in eval mode.

    Inputs are images of shape (batch, channels, height, width), normalised as `plan.json` says.
    Raises `UserError` when the run has no exported weights yet.
    """
    run = RunDirectory.existing(run_dir)
    if not run.model.is_file():
        raise UserError(f"{run_dir}: has no model.pth yet; `pqsearch run` or `pqsearch export` writes it")
    return module_of(*read_recipe(run.plan), run.model)
