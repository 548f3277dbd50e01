"""What pictures are drawn from, and how they are laid out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pqsearch.plan import Plan
from trainers.observing import LayerView

#: Colours that are told apart by those who see few, and in grey.
BLUE, ORANGE, GREY, GREEN = "#2b6cb0", "#d9822b", "#8a8f98", "#2f855a"
#: Pictures in a row, and inches of each.
COLUMNS, WIDTH, HEIGHT = 4, 3.2, 2.2


@dataclass(frozen=True)
class Told:
    """`layers` of the winner on images; `steps` of its quantisers by name before its training and after every epoch of it; `plans` by
    what they are called; `groups` by layer, in order: the name of the group of its outputs, None where they are never pruned.
    """

    title: str
    layers: Sequence[LayerView] = ()
    steps: Sequence[Mapping[str, float]] = ()
    plans: Mapping[str, Plan] = field(default_factory=dict)
    groups: Mapping[str, str | None] = field(default_factory=dict)


def small_multiples(number: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with so many small pictures in rows."""
    rows = max(1, math.ceil(number / COLUMNS))
    columns = min(COLUMNS, max(1, number))
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    found = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in found[number:]:
        axes.set_visible(False)
    return figure, found[:number]


def by_layer(told: Told, title: str, height: float = 4.0) -> tuple[Figure, Axes]:
    """A figure with a place for every layer on its x axis."""
    names = [layer.name for layer in told.layers]
    figure = Figure(figsize=(max(6.0, 0.32 * len(names) + 2), height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    named(axes, names)
    return figure, axes


def named(axes: Axes, names: Sequence[str]) -> None:
    """Put layers' names under the x axis."""
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.spines[["top", "right"]].set_visible(False)
