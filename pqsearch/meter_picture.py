"""What every layer costs, as a picture: before and after a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from pqsearch.plots._told import BLUE, GREY, named

if TYPE_CHECKING:
    from pqsearch.meter import Metered

#: A cost of a layer, and what it is called.
SHOWN = (("macs", "MACs"), ("size_bytes", "bytes"), ("bitops", "BitOps"), ("intensity", "MACs / byte"))
FORMATS = (".png", ".svg")


def picture(found: Metered) -> Figure:
    """Bars for each layer, one row for each cost."""
    names = [row.name for row in found.before]
    figure = Figure(figsize=(max(6.0, 0.34 * len(names) + 2), 9.0), layout="constrained")
    places = figure.subplots(len(SHOWN), 1, sharex=True)
    sides = [("before", found.before, GREY)] + ([("after", found.after, BLUE)] if found.after is not None else [])
    width = 0.8 / len(sides)
    for axes, (key, words) in zip(places, SHOWN, strict=True):
        for number, (called, rows, colour) in enumerate(sides):
            shift = (number - (len(sides) - 1) / 2) * width
            heights = [getattr(row, key) for row in rows]
            axes.bar([place + shift for place in range(len(names))], heights, width, color=colour, label=called)
        axes.set_ylabel(words)
        if key == "bitops":
            axes.set_yscale("log")  # a product of three shares: a few percent are usual
        axes.spines[["top", "right"]].set_visible(False)
    if found.after is not None:
        places[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    named(places[-1], names)
    return figure


def save(found: Metered, path: Path) -> None:
    """Draw into a PNG or SVG, by the file's name."""
    figure = picture(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
