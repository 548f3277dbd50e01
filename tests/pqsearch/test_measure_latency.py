"""Measuring a table on this machine: real layers of real networks, a few repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pqsearch
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.latency_file import read_latency
from pqsearch.prepare import prepare
from pqsearch.spec import parse_spec
from tests.conftest import small_spec, write_spec
from tests.trainers.nets import NETS, make
from trainers.layers import trace
from trainers.timing import layer_inputs, milliseconds


def test_the_command_measures_a_table_that_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "latency.json"
    spec = write_spec(
        tmp_path, budgets={"latency_ms": 1e3}, latency__table=str(out)
    )  # what it names is only to be made
    assert main(["latency", str(spec), "--out", str(out), "--repeats", "2", "--batch-size", "3", "--threads", "1"]) == 0
    said = capsys.readouterr()
    layers = json.loads(out.read_text())["layers"]
    assert f"{out}: {len(layers)} layers on " in said.out
    assert f"latency {len(layers)}/{len(layers)} layers linear" in said.err
    assert main(["check", str(spec)]) == 0
    assert f"by {out} (" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_every_layer_is_measured_at_channels_that_plans_leave_and_whole(tmp_path: Path) -> None:
    spec = parse_spec(small_spec(study__run_dir=str(tmp_path / "run")))
    table = pqsearch.measure_latency(spec, repeats=1, threads=1, quiet=True)
    info = prepare(spec).info
    assert list(table["layers"]) == [layer.name for layer in info.layers]
    assert (table["format"], table["unit"], table["batch_size"], table["threads"]) == (1, "ms", 1, 1)
    # Rates 0, 0.25 and 0.5 of 8 channels, read and written.
    rows = table["layers"]["layer1.0.conv1"]
    assert [(row["in_channels"], row["out_channels"]) for row in rows] == [(a, b) for a in (4, 6, 8) for b in (4, 6, 8)]
    assert {row["in_channels"] for row in table["layers"]["conv1"]} == {1}
    for layer in info.layers:
        last = table["layers"][layer.name][-1]
        assert (last["in_channels"], last["out_channels"]) == (layer.in_channels, layer.out_channels)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", NETS)
def test_layers_of_every_shape_are_timed_at_half_of_their_channels_and_whole(name: str) -> None:
    model, shape = make(name)
    info = trace(model, shape).info
    modules, inputs = dict(model.named_modules()), layer_inputs(model, shape)
    assert set(inputs) == {layer.name for layer in info.layers}
    for layer in info.layers:
        step = 1 if layer.depthwise else layer.groups
        half = tuple(max(step, n // 2 // step * step) for n in (layer.in_channels, layer.out_channels))
        for channels in (half, (layer.in_channels, layer.out_channels)):
            channels = (channels[1], channels[1]) if layer.depthwise else channels
            found = milliseconds(modules[layer.name], channels, inputs[layer.name], 2, 1, torch.device("cpu"))
            assert found > 0


def test_a_layer_that_is_used_twice_reads_both_of_its_inputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.conv(self.conv(images)).mean((2, 3)))

    assert layer_inputs(Twice(), (3, 8, 8)) == {"conv": [(3, 8, 8), (3, 6, 6)], "head": [(3,)]}


def test_a_table_of_one_model_is_refused_for_another(tmp_path: Path) -> None:
    out = tmp_path / "latency.json"
    pqsearch.measure_latency(parse_spec(small_spec()), out, repeats=1, quiet=True)
    other = parse_spec(small_spec(model={"name": "digits_net", "options": {"width": 8, "blocks": 2}}))
    with pytest.raises(UserError, match=r"latency.json: layers.layer1.1.conv1: is missing"):
        read_latency(out, prepare(other).info)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repeats", "0"], "--repeats: must be 1 to 10000, got 0"),
        (["--batch-size", "-1"], "--batch-size: must be 1 to 4096, got -1"),
        (["--threads", "0"], "--threads: must be 1 to 1024, got 0"),
        (["--out", "/proc/nowhere/latency.json"], "--out /proc/nowhere/latency.json: cannot be written"),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = [
        "latency",
        str(write_spec(tmp_path)),
        "--out",
        str(tmp_path / "a.json"),
        "--repeats",
        "1",
        *arguments,
    ]
    assert main(given) == 2
    assert words in capsys.readouterr().err
