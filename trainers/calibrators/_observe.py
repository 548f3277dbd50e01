"""The way through a network on which every quantiser sees its values once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainers.passing import hooked_pass
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
    handles = []

    def first_look(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        if layer.act_quantizer is not None and id(layer) not in seen:
            layer.act_quantizer.calibrate(inputs[0], steps)
        seen.add(id(layer))

    seen: set[int] = set()
    for _, layer in quantized_layers(model):
        if layer.weight_quantizer is not None:
            layer.weight_quantizer.calibrate(masked(layer, layer.weight), steps)
        handles.append(layer.register_forward_pre_hook(first_look))
    hooked_pass(model, images, handles)


def check_finite(x: Tensor) -> None:
    """Raises `FloatingPointError` for values that no grid can hold."""
    if not bool(x.isfinite().all()):
        raise FloatingPointError("values to be quantised are infinite or not a number")


def thinned(rows: Tensor) -> Tensor:
    """Some of the values of a long single row."""
    if len(rows) > 1 or rows.shape[1] <= MOST_SAMPLES:
        return rows
    # A stride that shares no factor with the usual powers of two visits every channel and position.
    return rows[:, :: (rows.shape[1] // MOST_SAMPLES) | 1]


def covering(rows: Tensor, low: int, high: int) -> Tensor:
    """The smallest steps (rows,) with which nothing is clipped."""
    above = rows.amax(1).clamp_min(0) / high
    below = rows.amin(1).clamp_max(0) / low if low < 0 else torch.zeros_like(above)
    return torch.maximum(above, below).clamp_min(SMALLEST_STEP)
