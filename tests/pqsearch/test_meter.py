"""`pqsearch meter` as a user meets it, and what it counts against those who count otherwise."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pqsearch.cli import main
from pqsearch.meter import _short, meter
from pqsearch.plan import LayerPlan, Plan
from tests.conftest import write_spec
from tests.own_modules import own_modules
from tests.trainers.nets import NETS, make
from tests.trainers.witnesses import torch_flops
from trainers.measure import measure_layers


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    plan = Plan({"layer1.0.conv1": 0.5}, {"layer1.0.conv1": LayerPlan(4, 8), "layer1.0.conv2": LayerPlan(3, 4)})
    path.write_text(json.dumps(plan.to_json()))
    return path


def test_costs_of_a_layer_before_and_after_a_plan_are_printed_and_written(
    tmp_path: Path, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, table, data = write_spec(tmp_path), tmp_path / "layers.csv", tmp_path / "layers.json"
    assert main(["meter", str(spec), "--plan", str(plan_file), "--csv", str(table), "--json", str(data)]) == 0
    said = capsys.readouterr().out.splitlines()
    row = next(line for line in said if line.startswith("layer1.0.conv2"))
    assert "8->8 > 4->8" in row and "576 > 288" in row and "32 > 3" in row
    found = json.loads(data.read_text())
    one = found["layers"]["layer1.0.conv2"]
    assert one["before"]["macs"] == 64 * 8 * 8 * 9 and one["after"]["macs"] == 64 * 8 * 4 * 9
    assert one["after"]["bitops"] == one["after"]["macs"] * 3 * 4
    # 288 weights of 3 bits, and the steps of eight channels and of the inputs.
    assert one["after"]["size_bytes"] == 108 + 4 * 9
    assert one["after"]["intensity"] == one["after"]["macs"] / (288 * 3 / 8 + 64 * 4 * 4 / 8)
    for side in ("before", "after"):
        assert found["total"][side]["macs"] == sum(layer[side]["macs"] for layer in found["layers"].values())
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [line["layer"] for line in rows] == list(found["layers"])
    assert {int(line["macs_after"]) for line in rows if line["layer"] == "layer1.0.conv2"} == {one["after"]["macs"]}


def test_without_a_plan_there_is_one_figure_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["meter", str(write_spec(tmp_path))]) == 0
    assert " > " not in capsys.readouterr().out


def test_modules_with_parameters_that_are_not_counted_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.norm, self.up = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 8, 2)
        self.wave, self.linear = nn.Conv1d(8, 8, 3), nn.Linear(8, classes)
        self.act, self.each, self.scale = nn.PReLU(), nn.InstanceNorm2d(8, affine=True), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.linear(self.scale * self.wave(self.act(self.up(self.each(self.norm(self.conv(x))))).flatten(2)).mean(2))

def make(classes):
    return Net(classes)
"""
    assert main(["meter", str(write_spec(tmp_path))]) == 0
    assert "not counted" not in capsys.readouterr().out
    with own_modules(tmp_path, wavy=net):
        spec = write_spec(tmp_path, model={"name": "wavy:make"}, budgets={}, space__first_last_bits=0)
        assert main(["meter", str(spec)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == (
            "not counted but in the network's params and bytes: the network itself (Net), up (ConvTranspose2d), wave (Conv1d)"
        )


@pytest.mark.parametrize(
    ("value", "words"), [(999, "999"), (999_499, "999 k"), (999_600, "1 M"), (1e9, "1 G"), (4.2e12, "4.2 T")]
)
def test_figures_are_short_and_have_no_exponents(value: float, words: str) -> None:
    assert _short(value, "params") == words


def test_a_run_is_metered_with_its_own_plan(finished_run: Path) -> None:
    found, summary = meter(finished_run), json.loads((finished_run / "summary.json").read_text())
    assert found.total_after is not None
    assert found.total_after["macs"] == summary["searched"]["macs"]
    assert found.total_after["size_bytes"] == summary["searched"]["size_bytes"]


def test_a_plan_of_another_network_and_a_file_that_cannot_be_written_are_one_line(
    tmp_path: Path, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(Plan({}, {"elsewhere": LayerPlan(4, 4)}).to_json()))
    assert main(["meter", str(spec), "--plan", str(other)]) == 2
    assert capsys.readouterr().err == f"{other}: is of another network: this one has no layer elsewhere\n"
    assert main(["meter", str(spec), "--csv", str(spec / "layers.csv")]) == 2
    assert capsys.readouterr().err.startswith(f"--csv {spec}/layers.csv: cannot be written")


@pytest.mark.parametrize("name", NETS)
def test_torch_counts_two_flops_for_each_of_our_macs(name: str) -> None:
    model, shape = make(name)
    assert torch_flops(model, shape) == 2 * sum(row.macs for row in measure_layers(model, shape))
