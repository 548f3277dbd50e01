"""What the layers of a run's winner hold beside their grids: what its pictures are drawn from. No Ray."""

from __future__ import annotations

from typing import Any

from torch import nn

from pqsearch.finetunes import Job
from pqsearch.plan import Plan
from pqsearch.prepare import Prepared
from pqsearch.run_dir import RunDirectory
from trainers.data import Loader
from trainers.device import evaluation_batch, pick
from trainers.observing import LayerView, observe_layers

#: Images that the report's inputs of layers come from.
IMAGES = 128
#: All go through the network at once, at most so many times as many as are evaluated together.
BATCHES = 4


def most_images(asked: int, input_shape: tuple[int, ...]) -> int:
    """Fewer than are asked for where images are so large that the values of a layer would not fit into memory."""
    return min(asked, BATCHES * evaluation_batch(input_shape, pick(0)))


def observe(prepared: Prepared, model: nn.Module, images: int) -> list[LayerView]:
    """Layers of a winner on so many training images, or fewer large ones."""
    number = most_images(images, prepared.dataset.input_shape)
    sample, _ = Loader(prepared.dataset, prepared.splits.train, pick(0)).sample(number, "plot")
    return observe_layers(model, sample)


def steps_of(run: RunDirectory, plan: Plan) -> list[dict[str, float]]:
    """Of the winner's quantisers by name, before its training and after every epoch of it; per channel the mean."""
    return run.read(Job("searched", plan).folder(run) / "steps.json") or []


def layer_values(prepared: Prepared, run: RunDirectory, plan: Plan, model: nn.Module) -> dict[str, Any]:
    """Of the winner: `layers`, each as `LayerView.to_json` gives it, and `steps` as `steps_of`."""
    return {"layers": [layer.to_json() for layer in observe(prepared, model, IMAGES)], "steps": steps_of(run, plan)}
