"""Histograms with the grid over them: what weights and activations have in common."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqsearch.plots._told import BLUE, GREY, ORANGE, Told, small_multiples
from trainers.observing import LayerView, Side

#: Zeros are not drawn; of so many it is told.
FEWEST_ZEROS = 0.01


def histograms(told: Told, title: str, side: Callable[[LayerView], Side]) -> Figure:
    """A small picture for each layer."""
    figure, places = small_multiples(len(told.layers), f"{told.title}: {title}")
    for axes, layer in zip(places, told.layers, strict=True):
        _histogram(axes, layer.name, side(layer))
    return figure


def _histogram(axes: Axes, name: str, side: Side) -> None:
    axes.stairs(side.counts / max(side.counts.max(), 1), side.edges, fill=True, color=BLUE, alpha=0.75)
    if side.marks:
        for place in side.marks:
            axes.axvline(place, color=ORANGE, linewidth=0.6, alpha=0.9)
        words = f"{side.bits} bits" + (f", {side.sqnr:.0f} dB" if side.sqnr is not None else "")
        words += f", {side.zeros:.0%} zero" if side.zeros >= FEWEST_ZEROS else ""
        axes.set_xlabel("steps", fontsize=7, labelpad=1)
    else:
        words = "float"
    axes.set_title(f"{name} ({words})", fontsize=7, color="black" if side.low is not None else GREY)
    axes.set_yticks([])
    axes.tick_params(labelsize=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
