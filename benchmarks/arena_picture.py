"""The arena's curves as a picture: value in hand against evaluations, medians with quartiles.

    python benchmarks/arena_picture.py KEPT.jsonl FILE.png

KEPT.jsonl is what `benchmarks/algorithms.py --keep` leaves.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from algorithms import read
from arena_bars import FLAGSHIP, LISTS, Entry, Medians
from matplotlib.axes import Axes

from arena.names import PEERS, TOLD_EVALUATIONS

#: Evaluations that curves begin with: before, everybody looks at first plans.
FIRST = 10
LAST = 1000
COLOURS = [plt.get_cmap("tab10")(number) for number in range(10)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    medians = Medians(read(options.kept))
    figure, axes = plt.subplots(1, 3, figsize=(15, 6.6), sharey=True, layout="constrained")
    mine: Entry = (FLAGSHIP, "ours")
    ours = [entry for entry in medians.entries() if entry[1] == "ours" and entry[0] not in (FLAGSHIP, *LISTS)]
    peers = [entry for entry in medians.entries() if entry[0] in PEERS]
    panels = (
        ("ours", ours),
        ("peers with our repair", [entry for entry in peers if entry[1] == "repair"]),
        ("peers with our repair and our starts", [entry for entry in peers if entry[1] == "repair, starts"]),
    )
    for axis, (title, entries) in zip(axes, panels, strict=True):
        for number, entry in enumerate(sorted(entries)):
            style = "-" if number < len(COLOURS) else "--"
            _draw(axis, medians, entry, COLOURS[number % len(COLOURS)], 1.4, style)
        _draw(axis, medians, mine, "black", 2.6, "-")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_title(title)
        axis.set_xlabel("evaluations")
        axis.grid(alpha=0.25)
        axis.legend(fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
    axes[0].set_ylabel("log loss of the plan in hand, without noise")
    figure.savefig(options.picture, dpi=110)
    print(options.picture)
    return 0


def _draw(axis: Axes, medians: Medians, entry: Entry, colour: object, width: float, style: str) -> None:
    if entry[0] in TOLD_EVALUATIONS:
        _draw_told(axis, medians, entry, colour)
        return
    runs = medians.runs(entry, 1)
    length = min(LAST, min(len(run.values) for run in runs))
    values = np.array([[np.nan if value is None else value for value in run.values[:length]] for run in runs])
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
    steps = np.arange(1, length + 1)
    shown = steps >= FIRST
    label = f"{entry[0]} (n={len(runs)})"
    axis.plot(steps[shown], middle[shown], color=colour, linewidth=width, linestyle=style, label=label)
    axis.fill_between(steps[shown], low[shown], high[shown], color=colour, alpha=0.12, linewidth=0)


def _draw_told(axis: Axes, medians: Medians, entry: Entry, colour: object) -> None:
    """Who searches by the number of evaluations has a run for each: points, not a curve."""
    counted = [number for number in range(FIRST, LAST + 1) if medians.runs(entry, number)]
    low, middle, high = np.array(
        [np.quantile([run.after(n) for run in medians.runs(entry, n)], (0.25, 0.5, 0.75)) for n in counted]
    ).T
    label = f"{entry[0]} (n={len(medians.runs(entry, counted[0]))})"
    spread = [middle - low, high - middle]
    axis.errorbar(counted, middle, spread, color=colour, fmt="s", markersize=4, linewidth=1, label=label)


if __name__ == "__main__":
    sys.exit(main())
