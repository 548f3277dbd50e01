"""Figures of a running search hold the numbers they were given."""

from __future__ import annotations

from pqsearch.dashboard.figures import MOST_WORKERS, against_cost, rung_flow, shares, timeline
from pqsearch.dashboard.tracks import Fall, Passed, Piece
from pqsearch.plan_table import PlanTable
from tests.pqsearch.report.made_up import candidate


def test_a_bar_per_rung_says_what_became_of_its_candidates() -> None:
    figure = rung_flow({0: Passed(7, 2, 1), 1: Passed(5, 0, 0)}, {1: 2}, ["calibrate", "fine_tune"])
    found = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in figure.data}
    assert found == {
        "went on, or done": {"1. calibrate": 7, "2. fine_tune": 5},
        "stopped here": {"1. calibrate": 2, "2. fine_tune": 0},
        "failed here": {"1. calibrate": 1, "2. fine_tune": 0},
        "at work or waiting": {"1. calibrate": 0, "2. fine_tune": 2},
    }


def test_a_cost_is_shown_where_the_search_is_and_not_where_a_uniform_plan_wastes_it() -> None:
    rows = [candidate(0, (0.5,), role="uniform", costs={"flops": 0.1})]
    rows += [candidate(id, (0.6,), costs={"flops": 0.4 + 0.01 * id}) for id in range(1, 5)]
    figure = against_cost(rows, "flops", 0.5)
    low, high = figure.layout.xaxis.range
    assert 0.39 < low < 0.41 and 0.5 < high < 0.52
    assert {trace.name for trace in figure.data} == {"candidate", "uniform", "best at its cost"}


def test_the_timeline_has_a_bar_per_piece_and_a_cross_per_failure() -> None:
    pieces = [
        Piece("worker-0", -1, 0, 0, 0.0, 2.0),
        Piece("worker-0", 5, 0, 0, 2.0, 3.5, 0.5),
        Piece("worker-1", 6, 2, 1, 1.0, 3.0, 0.6),
    ]
    figure = timeline(pieces, [Fall("worker-1", 7, 3.2)], ["worker-0", "worker-1"])
    lengths = {trace.name: list(trace.x) for trace in figure.data if trace.type == "bar"}
    assert lengths == {"sensitivity": [2000.0], "rung 1": [1500.0], "rung 2": [2000.0]}
    (cross,) = [trace for trace in figure.data if trace.name == "failed"]
    assert list(cross.y) == ["worker-1"]
    assert "measured again (2)" in figure.data[-2].text[0]


def test_of_very_many_workers_some_are_shown() -> None:
    workers = [f"worker-{number}" for number in range(3 * MOST_WORKERS)]
    figure = timeline([Piece(worker, 1, 0, 0, 0.0, 1.0) for worker in workers], [], workers)
    assert len(figure.data[0].y) == MOST_WORKERS


def test_shares_of_each_value_add_up_and_frozen_knobs_have_none() -> None:
    table = PlanTable([("weight_bits", "first", [8]), ("weight_bits", "body", [2, 4, 8])])
    found = shares(table, [[0, 1], [0, 1], [0, 2], [0, 0]])
    assert [(row["name"], row["value"], row["share"]) for row in found] == [
        ("body", 2, 0.25),
        ("body", 4, 0.5),
        ("body", 8, 0.25),
    ]
