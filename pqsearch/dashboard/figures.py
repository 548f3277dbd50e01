"""Figures that only a running search has: how rungs are passed, who worked when, where the leading plans agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

from pqsearch.dashboard.tracks import Fall, Passed, Piece
from pqsearch.plan_table import PlanTable
from pqsearch.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, ROLE_COLOURS, score_against_costs, styled

RUNG_COLOURS = (BLUE, GREEN, PURPLE, ORANGE)
#: Workers that a timeline has a line for, and pieces of work on it.
MOST_WORKERS, MOST_PIECES = 40, 1200
#: What is left free beside the points of a figure, as a share of its width.
BESIDE = 0.06
#: What became of candidates at a rung: key, words, colour.
FATES = (
    ("went_on", "went on, or done", BLUE),
    ("stopped", "stopped here", GREY),
    ("failed", "failed here", ORANGE),
    ("open", "at work or waiting", "rgba(74,127,230,0.3)"),
)


def rung_flow(passed: Mapping[int, Passed], open_tasks: Mapping[int, int], rungs: Sequence[str]) -> go.Figure:
    """What became of the candidates at each rung, a bar per rung, the first on top. `rungs` names them, in order.

    `open_tasks` counts, by rung, candidates that are there and have not ended.
    """
    names = [f"{number}. {kind}" for number, kind in enumerate(rungs, start=1)]
    figure = go.Figure()
    for key, words, colour in FATES:
        counts = [
            open_tasks.get(rung, 0) if key == "open" else getattr(passed.get(rung, Passed()), key)
            for rung in range(len(rungs))
        ]
        if any(counts):
            figure.add_bar(
                y=names, x=counts, name=words, orientation="h", marker={"color": colour},
                hovertemplate="%{y}: %{x} " + words + "<extra></extra>",
            )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(title="candidates")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return styled(figure, height=170 + 44 * len(rungs)).update_layout(margin={"l": 110})


def against_cost(candidates: Sequence[Mapping[str, Any]], name: str, limit: float) -> go.Figure:
    """The report's figure of one cost with its budget, from the cheapest plan that the search itself proposed to the limit.

    A plan that leaves most of a budget unused, as uniform ones do, would push all others together; it is there to the left.
    """
    figure = score_against_costs(candidates, {name: limit}, front=True)
    costs = [row["costs"][name] for row in candidates if row["role"] not in ROLE_COLOURS]
    low, high = min([*costs, limit]), max([*costs, limit])
    margin = BESIDE * (high - low)
    return figure.update_xaxes(range=[low - margin, high + margin]) if margin else figure


def timeline(pieces: Sequence[Piece], falls: Sequence[Fall], workers: Sequence[str]) -> go.Figure:
    """The latest pieces of work, a line per worker: how long each took, and at which rung; failures as crosses."""
    shown = list(workers)[:MOST_WORKERS]
    mine = [piece for piece in pieces if piece.worker in set(shown)][-MOST_PIECES:]
    figure = go.Figure()
    for rung, words in sorted({(_level(piece), _kind(piece)) for piece in mine}):
        some = [piece for piece in mine if (_level(piece), _kind(piece)) == (rung, words)]
        figure.add_bar(
            y=[piece.worker for piece in some], base=[_time(piece.began) for piece in some],
            x=[1000 * (piece.ended - piece.began) for piece in some], orientation="h", name=words,
            marker={"color": GREY if rung < 0 else RUNG_COLOURS[rung % len(RUNG_COLOURS)], "line": {"width": 0}},
            text=[_words(piece) for piece in some], textposition="none", hovertemplate="%{text}<extra>%{y}</extra>",
        )  # fmt: skip
    since = min((piece.began for piece in mine), default=0.0)
    crosses = [fall for fall in falls if fall.worker in set(shown) and fall.time >= since]
    if crosses:
        figure.add_scatter(
            y=[fall.worker for fall in crosses], x=[_time(fall.time) for fall in crosses], mode="markers", name="failed",
            marker={"color": ORANGE, "symbol": "x", "size": 9}, text=[f"candidate {fall.id}" for fall in crosses],
            hovertemplate="%{text} failed<extra>%{y}</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="overlay", bargap=0.25)
    figure.update_xaxes(type="date")
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=shown, autorange="reversed", showgrid=False
    )
    return styled(figure, height=150 + 24 * max(1, len(shown))).update_layout(margin={"l": 90})


def shares(table: PlanTable, genes: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Of plans (genes, a level per row of `table`) the share that gives each knob each of its values; no knob of one level."""
    rows = []
    for column, knob in enumerate(table.rows):
        if len(knob.values) > 1:
            counts = Counter(row[column] for row in genes)
            rows += [
                {
                    "kind": knob.kind,
                    "name": knob.name,
                    "tied": knob.tied,
                    "value": value,
                    "share": counts[level] / len(genes),
                }
                for level, value in enumerate(knob.values)
            ]
    return rows


def _level(piece: Piece) -> int:
    return piece.rung if piece.id >= 0 else -1


def _kind(piece: Piece) -> str:
    return "sensitivity" if piece.id < 0 else f"rung {piece.rung + 1}"


def _words(piece: Piece) -> str:
    what = "sensitivity" if piece.id < 0 else f"candidate {piece.id}, rung {piece.rung + 1}"
    again = f", measured again ({piece.repeat})" if piece.repeat else ""
    score = f"<br>accuracy {piece.accuracy:.4f}" if piece.accuracy is not None else ""
    return f"{what}{again}{score}<br>{piece.ended - piece.began:.1f} s"


def _time(seconds: float) -> str:
    """As the clock on the wall of the machine that serves the page."""
    return datetime.fromtimestamp(seconds).isoformat(timespec="milliseconds")
