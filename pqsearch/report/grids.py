"""What the winner's layers hold beside their grids, as plotly figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pqsearch.report.figures import BLUE, ORANGE, styled

SIDES = (("weight", "weights", BLUE), ("act", "inputs", ORANGE))

Row = Mapping[str, Any]


def sections(values: Mapping[str, Any]) -> Iterator[tuple[str, go.Figure, str]]:
    """Heading, figure and words of what there is to show. `values` is what `pqsearch.layer_values` makes."""
    layers, steps = values.get("layers", ()), values.get("steps", ())
    if any(row[side]["sqnr"] for row in layers for side, _, _ in SIDES):
        words = (
            "Of the searched plan's layers: signal to quantisation noise in decibels, 6 of which are about one bit, and the mean "
            "squared error. Weights that lie on their grids already lose nothing and are not drawn."
        )
        yield "What rounding costs, layer by layer", rounding(layers), words
    if any(row[side]["low"] is not None for row in layers for side, _, _ in SIDES):
        words = (
            "Of one layer, picked above the figure: values in steps, each channel in its own, with the grid over them (its two ends "
            "where it has many places); zeros are left out. On the right the range of the weights of each output channel."
        )
        yield "Values and their grids", histograms(layers), words
    if len(steps) > 1:
        words = "Each as a share of where calibration put it; of weights with a step per channel the mean. `pqsearch plot` writes files."
        yield "Steps while training", learned_steps(steps), words


def rounding(layers: Sequence[Row]) -> go.Figure:
    """Signal to quantisation noise and mean squared error of every layer's weights and inputs; those in float have none."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, (key, unit) in enumerate((("sqnr", "dB"), ("error", "mean squared error")), start=1):
        for side, words, colour in SIDES:
            figure.add_scatter(
                x=[layer["layer"] for layer in layers], y=[layer[side][key] or None for layer in layers], name=words,
                mode="lines+markers", line={"color": colour}, legendgroup=side, showlegend=row == 1,
                hovertemplate=f"%{{x}}: %{{y:.3g}} {unit}<extra>{words}</extra>", row=row, col=1,
            )  # fmt: skip
        figure.update_yaxes(title=unit, row=row, col=1)
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, row=2, col=1)
    figure.update_xaxes(tickangle=-60, row=2, col=1)
    return styled(figure, height=620).update_layout(margin={"b": 130})


def histograms(layers: Sequence[Row]) -> go.Figure:
    """One layer at a time: weights and inputs with their grids over them, and the ranges of output channels."""
    looks = [_look(row) for row in layers]
    first, titles = looks[0]
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.06)
    for column, (_, _, colour) in enumerate(SIDES, start=1):
        counts, grid = first[2 * column - 2 : 2 * column]
        figure.add_scatter(
            **counts, mode="lines", line={"color": colour, "shape": "hvh", "width": 1}, fill="tozeroy", row=1, col=column
        )  # fmt: skip
        figure.add_scatter(**grid, mode="lines", line={"color": "rgba(138,147,163,0.8)", "width": 1}, row=1, col=column)
    figure.add_scatter(**first[-1], mode="lines", line={"color": BLUE, "width": 2}, row=1, col=3)
    figure.update_traces(cliponaxis=False)
    for column in (1, 2):
        figure.update_yaxes(showticklabels=False, row=1, col=column)
    buttons = [
        {
            "label": row["layer"],
            "method": "update",
            "args": [
                {axis: [trace[axis] for trace in traces] for axis in "xy"},
                {f"annotations[{place}].text": title for place, title in enumerate(titles)},
            ],
        }
        for row, (traces, titles) in zip(layers, looks, strict=True)
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.32, "yanchor": "top", "showactive": True}
    return styled(figure, height=440).update_layout(showlegend=False, updatemenus=[menu], margin={"t": 110})


def _look(row: Row) -> tuple[list[dict[str, list[float | None]]], list[str]]:
    """What the traces of `histograms` show of a layer, and the titles over them."""
    traces, titles = [], []
    for side, words, _ in SIDES:
        found = row[side]
        first, last = found["edges"]
        width = (last - first) / len(found["counts"])
        tallest = max(1, *found["counts"])
        traces.append(
            {"x": [round(first + (place + 0.5) * width, 4) for place in range(len(found["counts"]))], "y": found["counts"]}
        )  # fmt: skip
        traces.append(_bars([(place, 0, tallest) for place in found["marks"]]))
        noise = f", {found['sqnr']:.0f} dB" if found["sqnr"] is not None else ""
        titles.append(f"{words}: {found['bits']} bits{noise}" if found["low"] is not None else f"{words}: float")
    traces.append(_bars([(channel, *ends) for channel, ends in enumerate(row["weight"]["ranges"])]))
    return traces, [*titles, "weights by output channel"]


def _bars(bars: Sequence[tuple[float, float, float]]) -> dict[str, list[float | None]]:
    """Upright lines (where, from, to) as one trace, with gaps between them."""
    x, y = [[place, place, None] for place, _, _ in bars], [[low, high, None] for _, low, high in bars]
    return {"x": [one for bar in x for one in bar], "y": [one for bar in y for one in bar]}


def learned_steps(steps: Sequence[Mapping[str, float]]) -> go.Figure:
    """Steps before training and after every epoch of it, by that before."""
    figure = go.Figure()
    for name, start in steps[0].items():
        _, words, colour = SIDES[0] if name.endswith("weight_quantizer") else SIDES[1]
        figure.add_scatter(
            x=list(range(len(steps))), y=[one[name] / start for one in steps], name=words, legendgroup=words,
            showlegend=words not in {trace.name for trace in figure.data}, mode="lines", line={"color": colour, "width": 1},
            hovertemplate=f"{name.rpartition('.')[0]}, {words}: %{{y:.3g}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="epoch", dtick=max(1, (len(steps) - 1) // 10))
    figure.update_yaxes(title="step, by that of calibration")
    return styled(figure)
