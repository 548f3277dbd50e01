"""What `benchmarks/post_training.py` makes of its results."""

from __future__ import annotations

from typing import Any

import pytest
from post_training import METHODS, NETWORKS, ONCE, load_case_spec, rows, table


def _result(accuracy: float, **more: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "images": 1000, "seconds": 3.0, **more}


def test_every_network_has_the_sections_that_methods_read() -> None:
    for name in NETWORKS:
        spec = load_case_spec(name, [])
        assert spec.fixed_point is not None and spec.reconstruction is not None
        assert spec.reconstruction.calibrator == "brecq"


def test_methods_with_a_bar_are_held_against_float() -> None:
    found = {(ONCE, "", 0): _result(0.9)}
    found |= {("brecq", "4/8", seed): _result(0.895 - seed / 1000) for seed in range(2)}
    found |= {("brecq", "2/8", seed): _result(0.8) for seed in range(2)}
    by_name = {row.name: row for row in rows(found, "resnet20")}
    near, far = by_name["W4A8 brecq against float"], by_name["W2A8 brecq against float"]
    assert near.value == pytest.approx(-0.55) and near.met
    assert far.value == pytest.approx(-10) and not far.met
    assert by_name["resnet20: float, n=1000"].value == 90


def test_a_searched_plan_is_held_against_the_uniform_one_of_its_own_run() -> None:
    assert "brecq, searched" in METHODS
    found = {(ONCE, "", 0): _result(0.9)}
    found |= {
        ("brecq, searched", "3/8", 0): _result(0.87, uniform=0.86),
        ("brecq, searched", "3/8", 1): _result(0.86, uniform=0.865),
    }
    (gain,) = (row for row in rows(found, "resnet20") if "against uniform bits" in row.name)
    assert gain.value == pytest.approx(0.25) and gain.met


def test_the_table_has_methods_by_bits_in_their_own_order() -> None:
    found = {(ONCE, "", 0): _result(0.9), ("brecq", "4/8", 0): _result(0.85), ("brecq", "8/8", 0): _result(0.89)}
    found |= {("mse", "8/8", seed): _result(0.88 + seed / 100) for seed in range(2)}
    assert table(found).splitlines() == [
        "| | W8A8 | W4A8 | s |",
        "|---|---|---|---|",
        "| mse | 88.50 (sd 0.71) |  | 3 |",
        "| brecq | 89.00 | 85.00 | 3 |",
    ]
