"""Heat maps of layers against the values of their knobs, side by side for each kind of knob."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pqsearch.plan import SHARES
from pqsearch.report.figures import styled

#: Costs in loss below this are all the same to the eye.
FAINTEST = 1e-5
TITLES = {
    "prune_rate": "channels removed",
    "weight_bits": "weight bits",
    "act_bits": "activation bits",
    "bits": "bits",
    "sparsity": "zero weights",
}


def sensitivity(table: Sequence[Mapping[str, Any]], among: Sequence[Mapping[str, Any]] | None = None) -> go.Figure:
    """What each value of each knob costs in loss: colours by its logarithm. Rows have kind, name, value and cost.

    Colours span the costs of all rows `among` which `table` is one part, so that parts compare.
    """
    costs = [max(FAINTEST, row["cost"]) for row in (table if among is None else among)]
    return _maps(
        table, "cost", lambda cost: log10(max(FAINTEST, cost)),
        zmin=log10(min(costs)), zmax=log10(max(costs)), colorbar={"title": "loss", "tickprefix": "10^", "dtick": 1},
        hovertemplate="%{y} at %{x}: %{customdata:.4g}<extra></extra>",
    )  # fmt: skip


def agreement(table: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Which share of plans gives each knob each value. Rows have kind, name, value and share, 0 to 1."""
    return _maps(
        table, "share", float, zmin=0.0, zmax=1.0, colorbar={"title": "plans", "tickformat": ".0%"},
        hovertemplate="%{y} at %{x}: %{z:.0%} of the plans<extra></extra>",
    )  # fmt: skip


def _maps(table: Sequence[Mapping[str, Any]], key: str, colour: Callable[[float], float], **heat: Any) -> go.Figure:
    kinds = list(dict.fromkeys(row["kind"] for row in table))
    titles = [TITLES[kind] for kind in kinds] if len(kinds) > 1 else None  # one alone is named by its heading
    figure = make_subplots(rows=1, cols=len(kinds), horizontal_spacing=0.02, shared_yaxes=True, subplot_titles=titles)
    names = _merged([[_label(row) for row in table if row["kind"] == kind] for kind in kinds])
    for column, kind in enumerate(kinds, start=1):
        mine = [row for row in table if row["kind"] == kind]
        values = sorted({row["value"] for row in mine}, reverse=kind in SHARES)
        found = {(_label(row), row["value"]): row[key] for row in mine}
        cells = [[found.get((name, value)) for value in values] for name in names]
        figure.add_heatmap(
            x=[f"{value:.3g}" for value in values], y=names,
            z=[[None if cell is None else colour(cell) for cell in row] for row in cells], customdata=cells,
            colorscale="Blues", showscale=column == len(kinds), xgap=1, ygap=1, row=1, col=column, **heat,
        )  # fmt: skip
        figure.update_xaxes(type="category", showgrid=False, row=1, col=column)
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return styled(figure, height=(140 if titles else 100) + 20 * len(names)).update_layout(
        margin={"l": 130, "t": 60 if titles else 20}
    )


def _label(row: Mapping[str, Any]) -> str:
    """A knob by its layer, and by how many more it sets."""
    return f"{row['name']} + {len(row['tied'])}" if row.get("tied") else str(row["name"])


def _merged(lists: Sequence[Sequence[str]]) -> list[str]:
    """Each name once, after the one that precedes it in its own list: where lists agree on the order, in that order.

    A layer of fixed bits has no row for them, but its channels may have one.
    """
    found: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name not in found:
                found.insert(place, name)
            place = found.index(name) + 1
    return found
