"""`pqsearch merge-bn` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pqsearch.cli import main
from tests.conftest import write_spec
from trainers.build import build_model
from trainers.merging import merge_batch_norm


def test_a_network_without_its_norms_is_written_and_loads(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path, model__weights=str(finished_run / "baseline.pth"))
    out = tmp_path / "merged.pth"
    assert main(["merge-bn", str(spec), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out}: 9 of 9 merged"
    assert said[-2] == "load     trainers.merging.merge_batch_norm(model, (1, 8, 8)).model has these weights"
    assert float(said[-1].split()[5]) < 1e-12
    network = merge_batch_norm(build_model("digits_net", {"width": 8, "blocks": 1}, 10, (1, 8, 8)), (1, 8, 8)).model
    network.load_state_dict(torch.load(out, weights_only=True))


def test_a_quantised_run_has_nothing_to_merge_and_says_so(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge-bn", str(finished_run), "--out", str(tmp_path / "merged.pth")]) == 2
    assert capsys.readouterr().err == (
        f"{finished_run}: nothing can be merged: bn1: conv1 (QuantConv2d) is quantised or computes in a way of its own; merge first "
        "(and 8 more); the run's float network can: `pqsearch merge-bn SPEC --set model.weights="
        f"{finished_run}/baseline.pth`\n"
    )
    assert not (tmp_path / "merged.pth").exists()


def test_outputs_that_are_all_zero_do_not_differ(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(finished_run / "baseline.pth", weights_only=True)
    for name in ("linear.weight", "linear.bias"):
        weights[name].zero_()
    torch.save(weights, tmp_path / "zero.pth")
    spec = write_spec(tmp_path, model__weights=str(tmp_path / "zero.pth"))
    assert main(["merge-bn", str(spec), "--out", str(tmp_path / "merged.pth")]) == 0
    assert "outputs differ by at most 0.0e+00 of the largest" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_named(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_spec(tmp_path, model__weights=str(finished_run / "baseline.pth"))
    assert main(["merge-bn", str(spec), "--out", str(spec / "merged.pth")]) == 2
    assert capsys.readouterr().err.startswith(f"--out {spec}/merged.pth: cannot be written")
