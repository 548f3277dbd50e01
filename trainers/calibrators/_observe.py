"""The way through a network on which every quantiser sees its values once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainers.passing import AllUses, hooked_pass
from trainers.quantized import masked, quantized_layers

#: From values (rows, values), each row with a step of its own, and the grid's lowest and highest integer, the steps (rows,).
Steps = Callable[[Tensor, int, int], Tensor]

#: No step is smaller: a row of zeros has a grid, too.
SMALLEST_STEP = 1e-8
#: Values of one row that are looked at where looking costs.
MOST_SAMPLES = 16384


@torch.no_grad()
def observe(model: nn.Module, images: Tensor, steps: Steps) -> None:
    """Set the steps of all quantisers from normalised `images` (batch, channels, height, width).

    Layers are visited as the forward pass does, each seeing inputs that the layers before it have quantised already.
    """
    layers = dict(quantized_layers(model))
    uses = AllUses(layers, lambda: hooked_pass(model, images[:1], []))
    handles = []

    def look(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        if layer.act_quantizer is not None:
            layer.act_quantizer.calibrate(uses.of(layer, "inputs", inputs[0]), steps)

    for layer in layers.values():
        if layer.weight_quantizer is not None:
            layer.weight_quantizer.calibrate(masked(layer, layer.weight), steps)
        handles.append(layer.register_forward_pre_hook(look))
    hooked_pass(model, images, handles)


def check_finite(x: Tensor) -> None:
    """Raises `FloatingPointError` for values that no grid can hold."""
    if not bool(x.isfinite().all()):
        raise FloatingPointError("values to be quantised are infinite or not a number")


def thinned(rows: Tensor) -> Tensor:
    """Some of the values of a long single row."""
    if len(rows) > 1 or rows.shape[1] <= MOST_SAMPLES:
        return rows
    # A stride that shares no factor with their number visits every channel and position.
    stride = rows.shape[1] // MOST_SAMPLES
    while math.gcd(stride, rows.shape[1]) > 1:
        stride += 1
    return rows[:, ::stride]


def covering(rows: Tensor, low: int, high: int) -> Tensor:
    """The smallest steps (rows,) with which nothing is clipped."""
    above = rows.amax(1).clamp_min(0) / high
    below = rows.amin(1).clamp_max(0) / low if low < 0 else torch.zeros_like(above)
    return torch.maximum(above, below).clamp_min(SMALLEST_STEP)
