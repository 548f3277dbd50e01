"""What rounding costs in each layer: signal to quantisation noise of weights and inputs, in decibels, and the mean squared error."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqsearch.plots._told import BLUE, ORANGE, Told, named
from trainers.observing import LayerView, Side

SIDES: tuple[tuple[str, str, Callable[[LayerView], Side]], ...] = (
    ("weights", BLUE, lambda layer: layer.weight),
    ("inputs", ORANGE, lambda layer: layer.act),
)


def draw(told: Told) -> Figure | None:
    """None where nothing is quantised."""
    if not any(side(layer).sqnr is not None for layer in told.layers for _, _, side in SIDES):
        return None
    figure = Figure(figsize=(max(6.0, 0.32 * len(told.layers) + 2), 6.5), layout="constrained")
    figure.suptitle(f"{told.title}: what rounding costs")
    above, below = figure.subplots(2, 1, sharex=True)
    _points(above, told, lambda side: side.sqnr)
    above.set_ylabel("signal to noise, dB")
    above.legend(frameon=False, fontsize=8)
    _points(below, told, lambda side: side.error or None)
    below.set_ylabel("mean squared error")
    below.set_yscale("log")
    named(below, [layer.name for layer in told.layers])
    above.spines[["top", "right"]].set_visible(False)
    return figure


def _points(axes: Axes, told: Told, value: Callable[[Side], float | None]) -> None:
    for words, colour, side in SIDES:
        found = [(place, value(side(layer))) for place, layer in enumerate(told.layers)]
        kept = [(place, number) for place, number in found if number is not None]
        gridded = any(side(layer).low is not None for layer in told.layers)
        label = words if kept else f"{words}: {'on their grids already' if gridded else 'float'}"
        axes.plot(
            [place for place, _ in kept], [number for _, number in kept], "o-", color=colour, label=label, markersize=4
        )
