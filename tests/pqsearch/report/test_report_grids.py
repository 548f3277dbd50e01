"""Histograms with their grids, what rounding costs, and steps while training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pqsearch.report import grids
from trainers.observing import LayerView, Side


def _side(low: int | None, high: int | None, bits: int = 2, sqnr: float | None = None) -> Side:
    counts, edges = np.array([1.0, 4.0, 2.0]), np.array([-1.5, -0.5, 0.5, 1.5])
    ranges = np.array([[-1.0, 0.5], [0.0, 2.0]])
    return Side(bits, counts, edges, ranges, 0.25, low, high, sqnr, None if sqnr is None else 0.01)


def _layer(name: str, weight: Side, act: Side) -> dict[str, Any]:
    return LayerView(name, weight, act).to_json()


LAYERS = [
    _layer("conv1", _side(-2, 1), _side(0, 255, 8, 40.0)),
    _layer("linear", _side(None, None, 32), _side(0, 3, 2, 9.0)),
]


def test_a_histogram_stands_at_the_middles_of_its_bins_with_the_grid_over_it() -> None:
    weights, lines, inputs, ends, channels = grids.histograms(LAYERS).data
    assert (list(weights.x), list(weights.y)) == ([-1.0, 0.0, 1.0], [1, 4, 2])
    assert list(lines.x) == [one for place in (-2, -1, 0, 1) for one in (place, place, None)]
    assert list(lines.y) == [0, 4, None] * 4
    assert list(inputs.y) == [1, 4, 2] and list(ends.x) == [0, 0, None, 255, 255, None], "256 lines are a wall"
    assert list(channels.x) == [0, 0, None, 1, 1, None] and list(channels.y) == [-1.0, 0.5, None, 0.0, 2.0, None]


def test_every_layer_can_be_picked_and_brings_its_own_titles() -> None:
    figure = grids.histograms(LAYERS)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["conv1", "linear"]
    assert [title.text for title in figure.layout.annotations] == [
        "weights: 2 bits", "inputs: 8 bits, 40 dB", "weights by output channel"
    ]  # fmt: skip
    traces, titles = menu.buttons[1].args
    assert titles["annotations[0].text"] == "weights: float" and titles["annotations[1].text"] == "inputs: 2 bits, 9 dB"
    assert len(traces["x"]) == len(figure.data) and traces["x"][1] == []


def test_weights_on_their_grids_have_no_noise_to_draw() -> None:
    weights, inputs, _, errors = grids.rounding(LAYERS).data
    assert list(weights.y) == [None, None] and list(inputs.y) == [40.0, 9.0] and list(errors.y) == [0.01, 0.01]


def test_steps_are_drawn_by_those_of_calibration_and_named_once() -> None:
    steps = [{"a.weight_quantizer": 2.0, "b.weight_quantizer": 1.0, "a.act_quantizer": 4.0}]
    steps.append({"a.weight_quantizer": 3.0, "b.weight_quantizer": 1.0, "a.act_quantizer": 2.0})
    figure = grids.learned_steps(steps)
    assert [list(trace.y) for trace in figure.data] == [[1.0, 1.5], [1.0, 1.0], [1.0, 0.5]]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["weights", "inputs"]


@pytest.mark.parametrize(
    ("values", "headings"),
    [
        ({}, []),
        ({"layers": [_layer("a", _side(None, None, 32), _side(None, None, 32))], "steps": [{}]}, []),
        ({"layers": [_layer("a", _side(-2, 1), _side(None, None, 32))], "steps": []}, ["Values and their grids"]),
    ],
    ids=["nothing", "float", "reconstructed"],
)
def test_what_there_is_not_has_no_section(values: dict[str, Any], headings: list[str]) -> None:
    assert [heading for heading, _, _ in grids.sections(values)] == headings
