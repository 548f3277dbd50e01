"""Histograms of each layer's inputs with the grid over them, in steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from pqsearch.plots._histograms import histograms
from pqsearch.plots._told import Told


def draw(told: Told) -> Figure | None:
    """None where there are no layers."""
    return histograms(told, "inputs of layers and their grids", lambda layer: layer.act) if told.layers else None
