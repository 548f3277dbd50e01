"""What `benchmarks/post_training.py` makes of its results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import post_training
import pytest
from post_training import METHODS, NETWORKS, ONCE, Case, load_case_spec, measured, rows, table

from pqsearch.plan import LayerPlan, Plan
from pqsearch.prepare import prepare
from pqsearch.spec import load_spec


def _result(accuracy: float, **more: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "images": 1000, "seconds": 3.0, **more}


def test_every_network_has_the_sections_that_methods_read() -> None:
    for name in NETWORKS:
        spec = load_case_spec(name, [])
        assert spec.fixed_point is not None and spec.reconstruction is not None
        assert spec.reconstruction.calibrator == "brecq"


def test_each_case_is_kept_as_soon_as_it_is_there_and_failures_are_raised_when_all_are_done(
    finished_run: Path, tmp_path: Path
) -> None:
    spec = load_spec(finished_run / "spec.toml", [f'study.run_dir="{finished_run}"'])
    impossible, possible = ("minmax", "99/8", 0), ("minmax", "8/8", 0)
    wanted: list[Case] = [(ONCE, "", 0), impossible, possible]
    with pytest.raises(ExceptionGroup) as told:
        measured(spec, tmp_path, wanted, 10, 1)
    (error,) = told.value.exceptions
    assert error.__notes__[-1] == "in the case minmax 99/8 0"
    assert {path.name for path in tmp_path.iterdir()} == {"float--0.json", "minmax-8a8-0.json"}
    kept = tmp_path / "minmax-8a8-0.json"
    before = kept.stat().st_mtime_ns
    found = measured(spec, tmp_path, [possible, (ONCE, "", 0)], 10, 1)
    assert kept.stat().st_mtime_ns == before and list(found) == [possible, (ONCE, "", 0)]
    assert abs(found[possible]["accuracy"] - found[ONCE, "", 0]["accuracy"]) < 0.1


@pytest.mark.usefixtures("warm_ray")
def test_seconds_of_a_searched_plan_are_those_of_all_calls(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_training, "PLANS", 4)
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    spec = load_spec(run / "spec.toml", [f'study.run_dir="{run}"', "reconstruction.iterations=10"])
    info = prepare(spec).info
    uniform = Plan(layers={layer.name: LayerPlan(3, 8) for layer in info.layers})
    arguments = (spec, info, uniform, "mse", 8, ("mse, searched", "3/8", 0))
    first, again = (post_training._searched(*arguments) for _ in range(2))
    assert again["seconds"] >= first["seconds"] > 0
    assert first["bits"][0] <= 3.001


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
