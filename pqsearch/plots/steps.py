"""Learned steps over the full fine-tune, each as a share of where calibration put it."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pqsearch.plots._told import BLUE, ORANGE, Told


def draw(told: Told) -> Figure | None:
    """None where nothing was trained with steps."""
    if len(told.steps) < 2:
        return None
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"{told.title}: steps while training")
    labels = {BLUE: "weights (mean of channels)", ORANGE: "activations"}
    for name, start in told.steps[0].items():
        colour = BLUE if name.endswith("weight_quantizer") else ORANGE
        shares = [one[name] / start for one in told.steps]
        axes.plot(range(len(shares)), shares, color=colour, linewidth=1, alpha=0.7, label=labels.pop(colour, None))
    axes.axhline(1.0, color="black", linewidth=0.6)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("step, by that of calibration")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
