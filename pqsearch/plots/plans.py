"""Bits and rates of each layer, for several plans side by side."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from pqsearch.plan import LayerPlan, Plan
from pqsearch.plots._told import BLUE, GREEN, GREY, ORANGE, Told, named

COLOURS = (BLUE, ORANGE, GREY, GREEN)
FLOAT = LayerPlan()


def draw(told: Told) -> Figure | None:
    """None where there is no plan."""
    if not told.plans or not told.groups:
        return None
    names = list(told.groups)

    def rate(plan: Plan, name: str) -> float:
        group = told.groups[name]
        return 100 * plan.groups.get(group, 0.0) if group is not None else 0.0

    values: list[tuple[str, Callable[[Plan, str], float]]] = [
        ("bits of weights", lambda plan, name: plan.layers.get(name, FLOAT).weight_bits),
        ("bits of inputs", lambda plan, name: plan.layers.get(name, FLOAT).act_bits),
    ]
    if any(any(plan.groups.values()) for plan in told.plans.values()):
        values.append(("outputs pruned, %", rate))
    figure = Figure(figsize=(max(6.0, 0.4 * len(names) + 2), 2 + 2.0 * len(values)), layout="constrained")
    figure.suptitle(f"{told.title}: plans, layer by layer")
    places = figure.subplots(len(values), 1, sharex=True)
    width = 0.8 / len(told.plans)
    for axes, (words, value) in zip(places, values, strict=True):
        for number, (called, plan) in enumerate(told.plans.items()):
            shift = (number - (len(told.plans) - 1) / 2) * width
            heights = [value(plan, name) for name in names]
            colour = COLOURS[number % len(COLOURS)]
            axes.bar([place + shift for place in range(len(names))], heights, width, color=colour, label=called)
        axes.set_ylabel(words)
        axes.spines[["top", "right"]].set_visible(False)
    places[0].legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    named(places[-1], names)
    return figure
