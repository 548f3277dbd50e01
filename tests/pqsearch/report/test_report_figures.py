"""Figures hold the numbers they were given."""

from __future__ import annotations

from typing import Any

import pytest

from pqsearch.report import figures
from pqsearch.report.correlation import rung_correlations, rung_pairs
from tests.pqsearch.report.made_up import candidate, candidates, correlation, model_info, plan


def _traces(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_convergence_shows_every_candidate_that_was_scored_once() -> None:
    figure = figures.convergence(candidates())
    (plain,) = _traces(figure, "candidate")
    assert list(plain.x) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert list(plain.y) == pytest.approx([0.84 + index / 100 for index in range(8)])


def test_the_best_so_far_never_falls() -> None:
    rows = [candidate(index, (value,)) for index, value in enumerate((0.5, 0.7, 0.6, 0.9, 0.1))]
    (line,) = _traces(figures.convergence(rows), "best so far")
    assert list(line.y) == [0.5, 0.7, 0.7, 0.9, 0.9]


def test_uniform_plans_and_those_measured_again_are_marked() -> None:
    figure = figures.convergence(candidates())
    assert list(_traces(figure, "uniform")[0].x) == [0]
    assert list(_traces(figure, "uniform, filled")[0].x) == [1]
    (again,) = _traces(figure, "mean when measured again")
    assert (list(again.x), list(again.y)) == ([4], [pytest.approx(0.86)])


def test_scores_stand_against_each_cost_with_its_limit() -> None:
    budgets = {"flops": 0.5, "act_bits": 4.0}
    figure = figures.score_against_costs(candidates(), budgets)
    assert [trace.xaxis for trace in _traces(figure, "candidate")] == ["x", "x2"]
    assert list(_traces(figure, "candidate")[0].x) == pytest.approx([0.4 + index / 200 for index in range(2, 10)])
    assert [shape.x0 for shape in figure.layout.shapes] == [0.5, 4.0]
    assert figure.layout.xaxis2.title.text == "act_bits<br>limit 4"
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3


def test_bars_show_rates_and_bits_of_both_plans_layer_by_layer() -> None:
    info = model_info().to_json()
    figure = figures.layers(info, {"searched": plan(0.5, 3), "uniform": plan(0.25, 4)})
    searched = _traces(figure, "searched")
    assert [list(trace.y) for trace in searched] == [[0.0, 0.5, 0.0], [8, 3, 8], [8, 3, 8]]
    assert list(searched[0].x) == ["conv1", "body.conv2", "linear"]
    assert [list(trace.y) for trace in _traces(figure, "uniform")][1] == [8, 4, 8]


def test_zeros_have_a_row_of_bars_and_a_line_of_the_hover_where_a_plan_has_any() -> None:
    info = model_info().to_json()
    sparse = plan(0.5, 3)
    sparse["layers"]["body.conv2"]["sparsity"] = 0.75
    figure = figures.layers(info, {"searched": sparse, "uniform": plan(0.25, 4)})
    assert [list(trace.y) for trace in _traces(figure, "searched")][3] == [0.0, 0.75, 0.0]
    assert [list(trace.y) for trace in _traces(figure, "uniform")][3] == [0.0, 0.0, 0.0]
    words = figures._plan_words(sparse).split("<br>")
    assert words[:3] == figures._plan_words(plan(0.5, 3)).split("<br>") and words[3:] == ["zeros 0% 75% 0%"]


def test_a_layer_without_a_group_and_a_plan_without_the_layer_are_untouched() -> None:
    info = model_info().to_json()
    info["layers"][0]["output"] = -1
    figure = figures.layers(info, {"searched": {"format": 1, "groups": {}, "layers": {}}})
    assert [list(trace.y) for trace in figure.data] == [[0.0] * 3, [32] * 3, [32] * 3]


def test_points_of_roles_say_which_candidate_they_are() -> None:
    (uniform,) = _traces(figures.convergence(candidates()), "uniform")
    assert list(uniform.text) == ["candidate 0"] and "%{text}" in uniform.hovertemplate


def _front(score: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Candidates whose losses do not go with their accuracies, and the front by loss and flops or by accuracy and flops."""
    rows = [candidate(id, (0.5, 0.6 + id / 10)) for id in range(3)]
    for row, loss in zip(rows, (0.3, 0.9, 0.8), strict=True):
        row["measurements"][-1]["loss"] = loss
    again = {**rows[0]["measurements"][-1], "repeat": 1, "loss": 0.5, "accuracy": 0.7}
    rows[0]["measurements"].append(again)
    points = {
        row["id"]: [0.4 if row["id"] == 0 else row["measurements"][-1]["loss"], row["costs"]["flops"]] for row in rows
    }
    if score == "accuracy":
        points = {row["id"]: [0.35 if row["id"] == 0 else 1 - row["accuracy"], row["costs"]["flops"]] for row in rows}
    keys = ("id", "accuracy", "images", "costs", "plan", "genes", "role")
    best = [row for row in rows if row["id"] == 0 or score == "accuracy"]
    plans = [{**{key: row[key] for key in keys}, "point": points[row["id"]]} for row in best]
    return rows, {"objectives": [score, "flops"], "plans": plans, "hypervolume": [{"id": 0, "volume": 0.1}]}


def test_hovering_over_the_front_shows_the_plan() -> None:
    rows, found = _front("accuracy")
    figure = figures.front(rows, found)
    for trace in (*_traces(figure, "candidate"), *_traces(figure, "front")):
        assert "%{text}" in trace.hovertemplate
        assert trace.text[0] == "candidate 0<br>removed 0% 25%<br>W bits 8 4 8<br>A bits 8 4 8"


@pytest.mark.parametrize("score", ["accuracy", "loss"])
def test_the_front_is_drawn_by_the_score_that_it_was_found_by(score: str) -> None:
    rows, found = _front(score)
    figure = figures.front(rows, found)
    (every,), (front,) = _traces(figure, "candidate"), _traces(figure, "front")
    shown = dict(zip(every.text, every.y, strict=True))
    assert list(every.y) == pytest.approx([0.65, 0.7, 0.8] if score == "accuracy" else [0.4, 0.9, 0.8])
    assert [shown[text] for text in front.text] == pytest.approx(list(front.y))
    assert figure.layout.yaxis.title.text == f"proxy {score}"


def test_rungs_are_compared_pair_by_pair() -> None:
    rows = [candidate(index, (0.1 * index, 0.2 * index, 0.3)) for index in range(3)] + [candidate(3, (0.4,))]
    figure = figures.rungs(rows, 3)
    assert [list(trace.x) for trace in figure.data] == [pytest.approx([0, 0.1, 0.2]), pytest.approx([0, 0.2, 0.4])]
    assert figure.layout.yaxis2.title.text == "after rung 3"


def test_repeats_do_not_count_as_rungs() -> None:
    row = candidate(0, (0.3, 0.8))
    row["measurements"] += [{**entry, "repeat": 1, "accuracy": 0.1} for entry in row["measurements"]]
    assert rung_pairs([row], 0) == [(0.3, 0.8)]
    assert rung_pairs([row], 1) == []


def test_a_reversed_ranking_correlates_at_minus_one_and_a_tie_not_at_all() -> None:
    reversed_rows = [candidate(index, (index / 10, 1 - index / 10)) for index in range(8)]
    (found,) = rung_correlations(reversed_rows, 2)
    assert (found["rung"], found["next"], found["tau"], found["plans"]) == (0, 1, pytest.approx(-1), 8)
    tied = [candidate(index, (0.5, index / 10)) for index in range(8)]
    assert rung_correlations(tied, 2)[0]["tau"] is None


def test_every_rung_is_compared_with_the_next_even_if_nothing_reached_it() -> None:
    rows = [candidate(index, (index / 10, index / 10)) for index in range(8)]
    assert [row["tau"] for row in rung_correlations(rows, 4)] == [pytest.approx(1), None, None]
    assert len(figures.rungs(rows, 4).data) == 3


def test_proxy_scores_stand_against_both_final_accuracies_with_their_errors() -> None:
    figure = figures.finals(correlation(9))
    (plain, again) = _traces(figure, "candidate")
    assert list(plain.x) == list(again.x) == pytest.approx([0.3 + index / 10 for index in range(8)])
    assert list(plain.y) == pytest.approx([0.95 - index / 100 for index in range(8)])
    assert list(again.y) == pytest.approx([0.94 - index / 100 for index in range(8)])
    assert set(again.error_y.array) == {0.008}
    assert [list(trace.x) for trace in _traces(figure, "uniform")] == [[pytest.approx(1.1)]] * 2
    # A small loss is a good one: it stands to the right.
    assert figure.layout.xaxis.autorange == "reversed"
    assert figure.layout.xaxis.title.text == "proxy loss<br>τ 1.00, n = 9"
    assert "only reported" in figure.layout.yaxis2.title.text


def test_accuracies_of_the_proxy_are_no_errors_in_the_figure() -> None:
    found = correlation(3) | {"score": "accuracy"}
    figure = figures.finals(found)
    assert list(_traces(figure, "candidate")[0].x) == pytest.approx([0.7, 0.6])
    assert figure.layout.xaxis.title.text == "proxy accuracy<br>τ not measured"
