"""`pqsearch ptq`: bits for a trained network without training."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import pqsearch
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.post_training import post_training
from pqsearch.spec import parse_spec
from tests.conftest import small_spec, write_spec
from trainers.quantized import quantized_layers

SHORT = {"calibrator": "brecq", "images": 64, "iterations": 20, "act_iterations": 5}


def _spec(**changes: Any) -> Any:
    return parse_spec(small_spec(**changes))


def test_plans_are_calibrated_and_nothing_is_trained() -> None:
    spec = _spec(study__run_dir="runs/x")
    found = post_training(spec)
    assert [rung.kind for rung in found.rungs] == ["calibrate"] and found.rungs[0] == spec.rungs[0]
    assert (found.finetune.epochs, found.halving, found.study.run_dir) == (0, None, "runs/x-ptq")
    assert found.reconstruction is not None and found.reconstruction.calibrator == "brecq"
    assert post_training(found) == found, "a spec that is one already is left as it is"


def test_nothing_is_pruned_unless_the_spec_says_so() -> None:
    assert post_training(_spec(space={"weight_bits": [4, 8]})).space.prune_rate == [0.0]
    assert post_training(_spec(space={"prune_rate": [0.0, 0.5]})).space.prune_rate == [0.0, 0.5]


def test_plans_are_ranked_by_loss_unless_the_spec_says_otherwise() -> None:
    said = {key: value for key, value in small_spec()["study"].items() if key != "objectives"}
    assert post_training(_spec(study=said)).study.objectives == ["loss"]
    assert post_training(_spec(study={**said, "objectives": ["accuracy"]})).study.objectives == ["accuracy"]


def test_what_the_spec_says_of_reconstruction_is_kept() -> None:
    found = post_training(_spec(reconstruction={"calibrator": "minmax", "images": 9}))
    assert found.reconstruction is not None
    assert (found.reconstruction.calibrator, found.reconstruction.images) == ("minmax", 9)


def test_a_rung_that_calibrates_is_made_where_there_is_none() -> None:
    spec = _spec(rungs=[{"kind": "fine_tune", "steps": 3}])
    assert [rung.kind for rung in post_training(spec).rungs] == ["calibrate"]


def test_without_weights_and_training_it_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"model\.weights: is required to quantise without training"):
        post_training(_spec(baseline={"lr": 0.1}))
    assert main(["ptq", str(write_spec(tmp_path, baseline={"lr": 0.1}))]) == 2
    said = capsys.readouterr().err
    assert said.startswith("model.weights: is required") and "Traceback" not in said
    assert not (tmp_path / "run-ptq").exists()


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_the_whole_chain_and_a_full_fine_tune_of_its_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write_spec(
        tmp_path, study__evaluations=4, study__confirm=0, reconstruction=SHORT, fixed_point={"images": 32},
        space={"weight_bits": [2, 3, 4, 8], "act_bits": [8]}, budgets={"weight_bits": 3.0},
    )  # fmt: skip
    assert main(["ptq", str(spec)]) == 0, capsys.readouterr().err
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("finetune ")]
    assert told and not [line for line in told if "epochs" in line], "nothing is trained"
    assert any(re.search(r"([1-9])/\1 plans", line) for line in told), told
    run = tmp_path / "run-ptq"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["searched"]["mean_weight_bits"] <= 3 and "baseline_finetuned" not in summary
    assert summary["fixed_point"]["integer"]["accumulator_bits"] <= 32
    results = [json.loads(path.read_text()) for path in (run / "checkpoints").glob("plan-*/result.json")]
    assert results and all(one["epochs"] == one["best_epoch"] == 0 for one in results)
    assert not list(run.rglob("*checkpoint.pth"))
    module = pqsearch.load(run)
    for _, layer in quantized_layers(module):
        grid: Any = layer.weight_quantizer
        if grid is not None:
            assert torch.allclose(grid(layer.weight), layer.weight, rtol=1e-5, atol=1e-7), "rounding was learned"
    before = (run / "summary.json").read_bytes()
    assert main(["ptq", str(spec)]) == 0
    assert json.loads(before)["searched"] == json.loads((run / "summary.json").read_text())["searched"]
    assert main(["finetune", str(spec), "--plan", str(run / "plan.json")]) == 0, capsys.readouterr().err
