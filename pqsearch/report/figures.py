"""The report's figures, as plotly figures. Pure functions of a run's plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pqsearch.report.correlation import rung_pairs

BLUE, ORANGE, GREEN, PURPLE, GREY = "#4a7fe6", "#e07b39", "#3a9d6e", "#9a5fd0", "#8a93a3"
ROLE_COLOURS = {"uniform": ORANGE, "uniform_filled": GREEN, "sensitivity_ilp": PURPLE}
ROLE_NAMES = {"uniform": "uniform", "uniform_filled": "uniform, filled", "sensitivity_ilp": "sensitivity plan"}
#: Plans that the report shows layer by layer.
PLAN_COLOURS = {"searched": BLUE, "uniform": ORANGE}
#: Slices on which a full fine-tune's accuracy is known, and in words.
FINAL_PARTS = {"select": "final, selection slice", "test": "final, test (only reported)"}


def styled(figure: go.Figure, height: int = 380) -> go.Figure:
    """Transparent and grey, so that the page's light and dark colours both carry it."""
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
    figure.update_xaxes(gridcolor="rgba(138,147,163,0.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(138,147,163,0.25)", zeroline=False)
    return figure


def _done(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in candidates if row["state"] == "done"]


def _by_role(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str | None, str, str, list[Mapping[str, Any]]]]:
    """Role, its name and colour, and the rows that play it; those that are compared with nothing first."""
    series = [(None, "candidate", BLUE), *((role, ROLE_NAMES[role], colour) for role, colour in ROLE_COLOURS.items())]
    for role, words, colour in series:
        mine = [row for row in rows if (row["role"] if row["role"] in ROLE_COLOURS else None) == role]
        if mine:
            yield role, words, colour, mine


def convergence(candidates: Sequence[Mapping[str, Any]], hours: Mapping[int, float] | None = None) -> go.Figure:
    """Proxy accuracy of every candidate in the order asked, the best so far, and those measured again.

    With `hours`, by candidate, against the worker hours that were spent when each of them ended.
    """
    rows = _done(candidates)
    if hours is not None:
        rows = sorted((row for row in rows if row["id"] in hours), key=lambda row: hours[row["id"]])

    def at(some: Sequence[Mapping[str, Any]]) -> list[float]:
        return [row["id"] if hours is None else hours[row["id"]] for row in some]

    figure = go.Figure()
    plain = [row for row in rows if row["role"] not in ROLE_COLOURS]
    figure.add_scatter(
        x=at(plain), y=[row["accuracy"] for row in plain], mode="markers", name="candidate",
        marker={"color": BLUE, "size": 7, "opacity": 0.65},
        text=[f"candidate {row['id']}" for row in plain], hovertemplate="%{text}: %{y:.4f}<extra></extra>",
    )  # fmt: skip
    for role, colour in ROLE_COLOURS.items():
        mine = [row for row in rows if row["role"] == role]
        if mine:
            figure.add_scatter(
                x=at(mine), y=[row["accuracy"] for row in mine], mode="markers", name=ROLE_NAMES[role],
                marker={"color": colour, "size": 12, "symbol": "diamond"},
                text=[f"candidate {row['id']}" for row in mine], hovertemplate="%{text}: %{y:.4f}<extra></extra>",
            )  # fmt: skip
    best, line = 0.0, []
    for row in rows:
        best = max(best, row["accuracy"])
        line.append(best)
    figure.add_scatter(
        x=at(rows),
        y=line,
        mode="lines",
        name="best so far",
        line={"color": BLUE, "width": 2, "shape": "hv"},
    )
    again = [row for row in rows if len(row.get("repeats") or ()) > 1]
    if again:
        figure.add_scatter(
            x=at(again), y=[sum(row["repeats"]) / len(row["repeats"]) for row in again],
            mode="markers", name="mean when measured again",
            marker={"color": "rgba(0,0,0,0)", "size": 14, "line": {"color": GREY, "width": 2}},
        )  # fmt: skip
    figure.update_xaxes(title="candidate, in the order asked" if hours is None else "worker hours")
    figure.update_yaxes(title="proxy accuracy on the scoring slice", tickformat=".0%")
    return styled(figure)


def score_against_costs(
    candidates: Sequence[Mapping[str, Any]], budgets: Mapping[str, float], *, front: bool = False
) -> go.Figure:
    """Proxy accuracy against each budget's cost, the limit as a line; with `front` also what is best at each cost."""
    rows, names = _done(candidates), list(budgets)
    figure = make_subplots(rows=1, cols=max(1, len(names)), shared_yaxes=True, horizontal_spacing=0.04)
    for column, name in enumerate(names, start=1):
        for role, words, colour, mine in _by_role(rows):
            figure.add_scatter(
                x=[row["costs"].get(name) for row in mine], y=[row["accuracy"] for row in mine], mode="markers",
                name=words, legendgroup=words, showlegend=column == 1,
                marker={"color": colour, "size": 12 if role else 7, "opacity": 1 if role else 0.65,
                        "symbol": "diamond" if role else "circle"},
                text=[f"candidate {row['id']}" for row in mine],
                hovertemplate="%{text}<br>" + name + " %{x:.4g}<br>accuracy %{y:.4f}<extra></extra>", row=1, col=column,
            )  # fmt: skip
        if front:
            best = _front_of(rows, name)
            figure.add_scatter(
                x=[row["costs"][name] for row in best], y=[row["accuracy"] for row in best], mode="lines",
                name="best at its cost", legendgroup="front", showlegend=column == 1, hoverinfo="skip",
                line={"color": BLUE, "width": 2, "shape": "hv"}, row=1, col=column,
            )  # fmt: skip
        figure.add_vline(x=budgets[name], line={"color": GREY, "dash": "dash"}, row=1, col=column)
        figure.update_xaxes(title=f"{name}<br>limit {budgets[name]:g}", nticks=5, row=1, col=column)
    figure.update_yaxes(title="proxy accuracy", tickformat=".0%", col=1)
    return styled(figure)


def _front_of(rows: Sequence[Mapping[str, Any]], cost: str) -> list[Mapping[str, Any]]:
    """Rows that none is better than at their cost or below, cheapest first."""
    found: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["costs"][cost], -row["accuracy"])):
        if not found or row["accuracy"] > found[-1]["accuracy"]:
            found.append(row)
    return found


def layers(info: Mapping[str, Any], plans: Mapping[str, Any], colours: Mapping[str, str] = PLAN_COLOURS) -> go.Figure:
    """Prune rate, weight bits, activation bits and, where a plan has any, zeros of every layer: plans side by side, those that
    have one of `colours`.
    """
    names = [layer["name"] for layer in info["layers"]]
    groups = [info["groups"][layer["output"]]["name"] if layer["output"] >= 0 else None for layer in info["layers"]]
    sparse = any(
        layer.get("sparsity") for role in colours for layer in (plans.get(role) or {"layers": {}})["layers"].values()
    )
    titles = ["channels removed", "weight bits", "activation bits (of the layer's input)"]
    titles += ["zeros among the weights left"] if sparse else []
    figure = make_subplots(
        rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.06, subplot_titles=titles
    )  # fmt: skip
    for role, colour in colours.items():
        plan = plans.get(role)
        if plan is None:
            continue
        rates = [plan["groups"].get(group, {}).get("prune_rate", 0.0) for group in groups]
        bits = [plan["layers"].get(name, {}) for name in names]
        series = [rates, [b.get("weight_bits", 32) for b in bits], [b.get("act_bits", 32) for b in bits]]
        series += [[b.get("sparsity", 0.0) for b in bits]] if sparse else []
        for row, values in enumerate(series, start=1):
            figure.add_bar(
                x=names, y=values, name=role, marker={"color": colour}, legendgroup=role, showlegend=row == 1,
                hovertemplate="%{x}: %{y}<extra>" + role + "</extra>", row=row, col=1,
            )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", row=1, col=1)
    if sparse:
        figure.update_yaxes(tickformat=".0%", row=len(titles), col=1)
    figure.update_xaxes(tickangle=-60, row=len(titles), col=1)
    return styled(figure, height=850 if sparse else 680).update_layout(
        margin={"b": 130, "t": 60}, legend={"y": 1.05}, bargap=0.25
    )


def front(candidates: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> go.Figure:
    """The score against each cost that is an objective, the front on top; beside them the hypervolume as it grew.

    The score is what the front is made of, accuracy or loss: by the other one its plans might look beaten.
    """
    score, *names = found["objectives"]
    words, form = ("proxy accuracy", ".0%") if score == "accuracy" else (f"proxy {score}", None)
    figure = make_subplots(rows=1, cols=len(names) + 1, horizontal_spacing=0.1)
    for column, name in enumerate(names, start=1):
        for rows, name_of, colour, size in (
            (_done(candidates), "candidate", GREY, 6),
            (found["plans"], "front", BLUE, 10),
        ):
            figure.add_scatter(
                x=[row["costs"][name] for row in rows], y=[_score(row, score) for row in rows], mode="markers",
                name=name_of, legendgroup=name_of, showlegend=column == 1, marker={"color": colour, "size": size},
                text=[f"candidate {row['id']}<br>{_plan_words(row['plan'])}" for row in rows],
                hovertemplate=f"%{{text}}<br>{name} %{{x:.4g}}<br>{score} %{{y:.4f}}<extra></extra>", row=1, col=column,
            )  # fmt: skip
        figure.update_xaxes(title=name, nticks=5, row=1, col=column)
        figure.update_yaxes(title=words if column == 1 else "", tickformat=form, row=1, col=column)
    figure.add_scatter(
        x=[entry["id"] for entry in found["hypervolume"]], y=[entry["volume"] for entry in found["hypervolume"]],
        mode="lines", line={"color": BLUE, "shape": "hv"}, showlegend=False, row=1, col=len(names) + 1,
    )  # fmt: skip
    figure.update_xaxes(title="candidate, in the order asked", row=1, col=len(names) + 1)
    figure.update_yaxes(title="hypervolume", row=1, col=len(names) + 1)
    return styled(figure)


def _score(row: Mapping[str, Any], score: str) -> float:
    """Accuracy or loss of a candidate as the front has it: the mean of all measurements at its last rung."""
    if "point" in row:
        return float(1 - row["point"][0] if score == "accuracy" else row["point"][0])
    return fmean(entry[score] for entry in row["measurements"] if entry["rung"] == row["rung"])


def _plan_words(plan: Mapping[str, Any]) -> str:
    """A plan in three lines for a hover."""
    rates = [f"{knobs['prune_rate']:.0%}" for knobs in plan["groups"].values()]
    bits = [[str(knobs[kind]) for knobs in plan["layers"].values()] for kind in ("weight_bits", "act_bits")]
    shares = [knobs.get("sparsity", 0) for knobs in plan["layers"].values()]
    zeros = [f"{share:.0%}" for share in shares] if any(shares) else []
    lines = (("removed", rates), ("W bits", bits[0]), ("A bits", bits[1]), ("zeros", zeros))
    return "<br>".join(f"{name} {' '.join(values)}" for name, values in lines if values)


def rungs(candidates: Sequence[Mapping[str, Any]], number: int) -> go.Figure:
    """Accuracy at each rung against the next, a point per candidate; `number` rungs."""
    figure = make_subplots(rows=1, cols=max(1, number - 1), horizontal_spacing=0.14)
    for rung in range(number - 1):
        _add_rung_pair(figure, rung_pairs(candidates, rung), rung, rung + 1)
    return styled(figure, height=320)


def rung_pair(pairs: Sequence[tuple[float, float]], rung: int) -> go.Figure:
    """Accuracies at one rung against the next, alone in a figure."""
    figure = make_subplots(rows=1, cols=1)
    _add_rung_pair(figure, pairs, rung, 1)
    return styled(figure, height=320)


def _add_rung_pair(figure: go.Figure, pairs: Sequence[tuple[float, float]], rung: int, column: int) -> None:
    figure.add_scatter(
        x=[low for low, _ in pairs], y=[high for _, high in pairs], mode="markers", showlegend=False,
        marker={"color": BLUE, "size": 7, "opacity": 0.65},
        hovertemplate="%{x:.4f} then %{y:.4f}<extra></extra>", row=1, col=column,
    )  # fmt: skip
    figure.update_xaxes(title=f"after rung {rung + 1}", tickformat=".0%", row=1, col=column)
    figure.update_yaxes(title=f"after rung {rung + 2}", tickformat=".0%", row=1, col=column)


def finals(found: Mapping[str, Any], parts: Mapping[str, str] = FINAL_PARTS) -> go.Figure:
    """The proxy's score of each fully fine-tuned plan against its final accuracy, on each of `parts`.

    `found` is the content of correlation.json. The better score stands to the right, as the better accuracy stands above.
    """
    figure = make_subplots(rows=1, cols=len(parts), horizontal_spacing=0.16)
    loss = found["score"] == "loss"
    for column, (part, title) in enumerate(parts.items(), start=1):
        for role, words, colour, mine in _by_role(found["plans"]):
            figure.add_scatter(
                x=[row["score"] if loss else 1 - row["score"] for row in mine],
                y=[row[f"{part}_accuracy"] for row in mine], mode="markers", name=words, legendgroup=words,
                showlegend=column == 1, marker={"color": colour, "size": 12 if role else 9, "symbol": "diamond" if role else "circle"},
                error_y={"array": [row[f"{part}_standard_error"] for row in mine], "color": colour, "thickness": 1, "width": 3},
                text=[f"candidate {row['id']}" for row in mine],
                hovertemplate="%{text}<br>proxy %{x:.4f}<br>final accuracy %{y:.4f}<extra></extra>", row=1, col=column,
            )  # fmt: skip
        rank = found[part]
        tau = "not measured" if rank["tau"] is None else f"{rank['tau']:.2f}, n = {rank['plans']}"
        axis = "proxy loss" if loss else "proxy accuracy"
        figure.update_xaxes(
            title=f"{axis}<br>τ {tau}", autorange="reversed" if loss else True,
            tickformat="" if loss else ".0%", nticks=6, row=1, col=column,
        )  # fmt: skip
        figure.update_yaxes(title=title, tickformat=".0%", row=1, col=column)
    return styled(figure)
