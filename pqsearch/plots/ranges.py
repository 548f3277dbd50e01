"""Ranges per channel: how far the weights of each output channel reach, beside the layer's own range."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pqsearch.plots._told import BLUE, GREY, Told, by_layer


def draw(told: Told) -> Figure | None:
    """None where there are no layers."""
    if not told.layers:
        return None
    figure, axes = by_layer(told, f"{told.title}: largest weight of each output channel")
    for place, layer in enumerate(told.layers):
        largest = np.abs(layer.weight.ranges).max(1)
        spread = np.linspace(-0.3, 0.3, len(largest)) if len(largest) > 1 else np.zeros(1)
        axes.scatter(place + spread, np.maximum(largest, 1e-12), s=3, color=BLUE, linewidths=0)
        axes.hlines(largest.max(), place - 0.4, place + 0.4, color=GREY, linewidth=1)
    axes.set_yscale("log")
    axes.set_ylabel("|weight|, largest")
    return figure
