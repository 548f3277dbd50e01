"""A plan put on other weights of the same network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pqsearch.cli import main
from pqsearch.plan_file import read_recipe
from pqsearch.rebuild import module_of
from tests.conftest import write_spec


@pytest.fixture
def spec(finished_run: Path, tmp_path: Path) -> Path:
    """A spec that names the weights that the finished run began with."""
    return write_spec(tmp_path, model__weights=str(finished_run / "baseline.pth"))


def test_a_plan_is_put_on_weights_and_both_are_there_to_load(
    finished_run: Path, spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "applied"
    assert main(["apply", str(finished_run / "plan.json"), str(spec), "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["baseline_accuracy"] >= found["accuracy"] > 0.2 and found["images"] == 60
    plan, data = read_recipe(out / "plan.json")
    assert plan == read_recipe(finished_run / "plan.json")[0]
    model = module_of(plan, data, out / "model.pth")
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    # Calibrated anew, but cut as the run cut them.
    fine_tuned = torch.load(finished_run / "model.pth", weights_only=True)
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in fine_tuned.items()
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("layer", "is of another network: this one has no layer elsewhere"),
        ("group", "is of another network: this one has no group elsewhere"),
        ("fixed", "prunes linear, which cannot be pruned here: its channels are the model's outputs"),
    ],
)
def test_a_plan_of_another_network_is_refused_by_its_first_difference(
    finished_run: Path, spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    data = json.loads((finished_run / "plan.json").read_text())
    if change == "layer":
        data["layers"]["elsewhere"] = {"weight_bits": 4, "act_bits": 4}
    else:
        data["groups"]["elsewhere" if change == "group" else "linear"] = {"prune_rate": 0.5}
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(data))
    assert main(["apply", str(plan), str(spec), "--out", str(tmp_path / "applied")]) == 2
    assert capsys.readouterr().err == f"{plan}: {words}\n"
    assert not (tmp_path / "applied").exists()


def test_without_weights_and_into_a_folder_in_use_nothing_is_done(
    finished_run: Path, spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = str(finished_run / "plan.json")
    (tmp_path / "other").mkdir()
    assert main(["apply", plan, str(write_spec(tmp_path / "other")), "--out", str(tmp_path / "applied")]) == 2
    assert capsys.readouterr().err.startswith("model.weights: is required to apply a plan, got nothing")
    assert main(["apply", plan, str(spec), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"--out {tmp_path}: is not empty; give a new folder\n"
