"""Processes that share a training: one is killed, all diverge, they sit on several nodes, there is no room for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pqsearch.finetunes import Job
from pqsearch.plan import LayerPlan, Plan
from pqsearch.prepare import load_data
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec
from tests.conftest import small_spec, write_spec
from tests.long.ray_head import RayHead
from trainers import files
from trainers.baseline import initial_model

pytestmark = pytest.mark.long
WAIT_SECONDS = 600.0
PLAN = Plan(groups={"conv1": 0.5}, layers={"layer1.0.conv1": LayerPlan(8, 8), "linear": LayerPlan(8, 8)})
#: In float32 and with frozen batch norm: then processes differ from one by rounding alone.
EXACT = {"epochs": 3, "lr": 0.01, "batch_size": 64, "amp": False, "freeze_batch_norm": True}
#: Without a grid: on which side of one a value falls is up to the processor, and so is all that follows from it.
FLOAT = Plan(groups=PLAN.groups, layers={})
#: As `docs/training.md` states it of float networks.
TOLERANCE = 1e-5


def _finetune(
    folder: Path, plan: Plan, environment: dict[str, str] | None = None, **changes: Any
) -> tuple[subprocess.Popen[str], RunDirectory]:
    """`pqsearch finetune --plan`, begun: the weights that it starts from are given, so that nothing else is trained."""
    folder.mkdir()
    spec = parse_spec(small_spec())
    files.save(initial_model(spec, load_data(spec)[0]).state_dict(), folder / "weights.pth")
    changes = {"model__weights": str(folder / "weights.pth"), "baseline__epochs": 0, **changes}
    (folder / "plan.json").write_text(json.dumps(plan.to_json()))
    path = write_spec(folder, **changes)
    command = [sys.executable, "-m", "pqsearch", "finetune", str(path), "--plan", str(folder / "plan.json")]
    mine = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment or mine
    )
    return process, RunDirectory(folder / "run")


def _ended(
    process: subprocess.Popen[str], run: RunDirectory, plan: Plan = PLAN
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a training came to, without its seconds, and its weights."""
    try:
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    folder = Job("searched", plan).folder(run)
    assert not any(run.scratch.iterdir())
    return {**run.read(folder / "result.json"), "seconds": 0}, files.load(folder / "weights.pth")


def _apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.release  # that a training cut off goes on to the same weights is `test_finetunes.py`'s
def test_a_killed_process_changes_nothing_of_the_result(tmp_path: Path) -> None:
    # Statistics by process, mixed precision and all that a checkpoint has to carry.
    keys = {"epochs": 12, "lr": 0.05, "batch_size": 64, "workers": 2, "ema": 0.9}
    process, run = _finetune(tmp_path / "killed", PLAN, finetune=keys)
    progress = Job("searched", PLAN).folder(run) / "progress.json"
    deadline = time.monotonic() + WAIT_SECONDS
    while (run.read(progress) or {}).get("done", 0) < 3:
        assert time.monotonic() < deadline and process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = [one for one in family if "RayTrainWorker" in " ".join(one.cmdline())]
    assert len(ranks) == 2
    os.kill(max(one.pid for one in ranks), signal.SIGKILL)
    killed, weights = _ended(process, run)
    whole, others = _ended(*_finetune(tmp_path / "whole", PLAN, finetune=keys))
    assert killed == whole
    assert _apart(weights, others) == 0


@pytest.mark.release
def test_a_rate_that_is_too_high_is_told_in_a_line(tmp_path: Path) -> None:
    keys = {**EXACT, "workers": 2, "lr": 1e30, "warmup_epochs": 0.0}
    process, run = _finetune(tmp_path / "high", PLAN, finetune=keys)
    _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 2
    line = errors.strip().splitlines()[-1]
    assert line.startswith("finetune.lr: the loss became nan") and line.endswith(
        "of searched (epoch 1), got 1e+30; lower it"
    )
    assert "Traceback" not in errors and not any(run.scratch.iterdir())


@pytest.mark.release  # two processes on one node are `test_ranks.py`'s
def test_four_processes_on_two_nodes_train_what_one_does_and_five_have_no_room(tmp_path: Path) -> None:
    one, weights = _ended(*_finetune(tmp_path / "one", FLOAT, finetune=EXACT), FLOAT)
    with RayHead(tmp_path, cpus=1) as head, head.another_node():
        environment = head.environment(RAY_ADDRESS=head.gcs)
        # Halves of a CPU: two on each node.
        four = {"finetune": {**EXACT, "workers": 4}, "workers__cpus": 0.5}
        shared, others = _ended(*_finetune(tmp_path / "four", FLOAT, environment, **four), FLOAT)
        process, run = _finetune(
            tmp_path / "five", FLOAT, environment, finetune={**EXACT, "batch_size": 60, "workers": 5}, workers__cpus=0.5
        )
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert _apart(weights, others) < TOLERANCE
    assert shared["best_epoch"] == one["best_epoch"]
    assert abs(shared["test_accuracy"] - one["test_accuracy"]) <= 2 * one["test_standard_error"]
    assert process.returncode == 2
    line = errors.strip().splitlines()[-1]
    assert line.startswith(
        "finetune.workers: 5 processes (0.5 CPU, 0 GPU each) train together, the cluster has room for 4 on 2 nodes;"
    )
    assert "Traceback" not in errors and not Job("searched", FLOAT).folder(run).exists()
