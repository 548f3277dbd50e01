"""What a quantised network's values look like beside their grids: histograms, ranges, and what rounding costs, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.calibrators._observe import SMALLEST_STEP
from trainers.coupling import LAYERS
from trainers.passing import hooked_pass
from trainers.quantized import Grid, QuantConv2d, QuantLinear, masked

#: Bins of a histogram, and integers of a grid that are all drawn over it.
BINS, MOST_MARKS = 120, 33


@dataclass(frozen=True)
class Side:
    """Weights or inputs of a layer. With a grid the histogram (`counts` of `edges`) is in steps, each channel in its own, and the grid's
    integers go from `low` to `high`; in float it is in the values themselves. `sqnr` is in decibels, `error` the mean squared error.
    Zeros, of which there are many behind a ReLU and among sparse weights, are not in the histogram but in the share `zeros`.
    `ranges` (channels, 2) are the smallest and largest value of each channel; of weights these are output channels.
    """

    bits: int
    counts: NDArray[np.float64]
    edges: NDArray[np.float64]
    ranges: NDArray[np.float64]
    zeros: float
    low: int | None = None
    high: int | None = None
    sqnr: float | None = None
    error: float | None = None

    @property
    def marks(self) -> list[int]:
        """Where the grid is drawn: all of its integers, or its ends where those would be a wall."""
        if self.low is None or self.high is None:
            return []
        whole = self.high - self.low < MOST_MARKS
        return list(range(self.low, self.high + 1)) if whole else [self.low, self.high]

    def to_json(self) -> dict[str, Any]:
        """The same as plain values, six digits of each; `edges` are the first and the last, bins being equal."""
        plain = {**vars(self), "edges": self.edges[[0, -1]], "counts": self.counts.astype(int), "marks": self.marks}
        return {name: _short(value) for name, value in plain.items()}


@dataclass(frozen=True)
class LayerView:
    """A convolution or linear layer as `observe_layers` has seen it."""

    name: str
    weight: Side
    act: Side

    def to_json(self) -> dict[str, Any]:
        return {"layer": self.name, "weight": self.weight.to_json(), "act": self.act.to_json()}


@torch.no_grad()
def observe_layers(model: nn.Module, images: Tensor) -> list[LayerView]:
    """Every layer that normalised `images` (batch, channels, height, width) go through, in the order of the forward pass."""
    found: dict[str, LayerView] = {}
    handles = []
    for name, part in model.named_modules():
        if isinstance(part, LAYERS):

            def look(layer: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                if name not in found:
                    found[name] = LayerView(name, _weights(layer), _inputs(layer, inputs[0]))

            handles.append(part.register_forward_pre_hook(look))
    hooked_pass(model, images, handles)
    return list(found.values())


def _weights(layer: nn.Module) -> Side:
    plain = cast("Tensor", layer.weight).detach()
    if not isinstance(layer, (QuantConv2d, QuantLinear)):
        return _side(plain, None, 0)
    return _side(masked(layer, plain), layer.weight_quantizer, 0, layer.weight_mask)


def _inputs(layer: nn.Module, values: Tensor) -> Side:
    axis = 1 if isinstance(layer, nn.Conv2d) else values.ndim - 1
    grid = layer.act_quantizer if isinstance(layer, (QuantConv2d, QuantLinear)) else None
    return _side(values.detach(), grid, axis)


def _side(values: Tensor, grid: Grid | None, axis: int, mask: Tensor | None = None) -> Side:
    rows = values.movedim(axis, 0).flatten(1)
    ranges = torch.stack([rows.amin(1), rows.amax(1)], 1).double().cpu().numpy()
    zeros = float((values == 0).double().mean())
    if grid is None or not grid.ready:
        counts, edges = _histogram(values)
        return Side(32, counts, edges, ranges, zeros)
    # What is masked is zero, on a grid that has no zero too.
    rounded = grid(values) if mask is None else grid(values) * mask
    noise = (rounded - values).double().square()
    step = grid.step.detach().clamp_min(SMALLEST_STEP)
    if grid.axis is not None and step.numel() > 1:
        step = step.view([-1 if place == grid.axis % values.ndim else 1 for place in range(values.ndim)])
    counts, edges = _histogram(values / step)
    power, lost = float(values.double().square().sum()), float(noise.sum())
    sqnr = 10 * math.log10(power / lost) if power > 0 and lost > 0 else None
    ends: Any = grid
    return Side(grid.bits, counts, edges, ranges, zeros, ends.low, ends.high, sqnr, float(noise.mean()))


def _short(value: Any) -> Any:
    """Numbers with the digits that a picture needs."""
    if isinstance(value, np.ndarray):
        return [_short(one) for one in value.tolist()] if value.ndim == 1 else [_short(row) for row in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _histogram(values: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts, edges = np.histogram(values[values != 0].float().cpu().numpy(), bins=BINS)
    return counts.astype(np.float64), edges.astype(np.float64)
