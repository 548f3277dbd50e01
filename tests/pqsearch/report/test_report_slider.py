"""Sliders under other budgets: what they carry, and that no name in it ends the page."""

from __future__ import annotations

import json
import re
from typing import Any

from pqsearch.report.slider import sliders

BUDGETS = {"flops": 0.5, "act_bits": 4.0}


def _rows(names: tuple[str, ...] = ("flops",), layer: str = "conv1") -> list[dict[str, Any]]:
    return [
        {
            "budget": name,
            "limit": limit,
            "accuracy": 0.9,
            "low": 0.85,
            "high": 0.95,
            "costs": {"flops": limit, "act_bits": 3.98765, "params": 0.1},
            "plan": {"groups": {layer: {"prune_rate": 0.5}}, "layers": {layer: {"weight_bits": 4, "act_bits": 3}}},
        }
        for name in names
        for limit in (0.25, 0.45, 0.75)
    ]


def _carried(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="forecast">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_zeros_have_a_strip_where_a_plan_has_any() -> None:
    assert 'data-knob="sparsity"' not in sliders(_rows(), BUDGETS, "runs/x", 40)
    rows = _rows()
    rows[1]["plan"]["layers"]["conv1"]["sparsity"] = 0.5
    page = sliders(rows, BUDGETS, "runs/x", 40)
    assert 'data-knob="sparsity"' in page and '["zero weights","layers","sparsity",1.0]' in page


def test_each_budget_with_a_forecast_has_a_slider_that_begins_at_the_nearest_limit() -> None:
    page = sliders(_rows(), BUDGETS, "runs/x", 40)
    assert page.count('type="range"') == 1
    assert 'max="2" value="1"' in page
    assert "(searched: 0.5)" in page
    assert "fitted to 40 evaluated plans" in page
    assert sliders(_rows(("flops", "act_bits")), BUDGETS, "runs/x", 40).count('type="range"') == 2


def test_the_command_of_each_position_solves_for_it_and_costs_are_those_with_limits() -> None:
    rows = _carried(sliders(_rows(), BUDGETS, "runs/x", 40))
    assert [row["command"] for row in rows] == [
        f"pqsearch resolve runs/x --budget flops={limit}" for limit in (0.25, 0.45, 0.75)
    ]
    assert rows[0]["shown"] == {"flops": "0.25", "act_bits": "3.988"}


def test_one_position_or_none_is_no_slider() -> None:
    assert sliders([], BUDGETS, "runs/x", 40) == ""
    assert sliders(_rows()[:1], BUDGETS, "runs/x", 40) == ""


def test_no_name_ends_the_script_it_stands_in() -> None:
    hostile = "</script><script>alert('x')</script>"
    page = sliders(_rows(layer=hostile), BUDGETS, "runs/x", 40)
    assert hostile not in page
    assert hostile in _carried(page)[0]["plan"]["layers"]
