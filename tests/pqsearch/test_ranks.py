"""Trainings that two processes share, through Ray Train on a Ray of this machine's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from pqsearch import finetunes
from pqsearch.baselines import train_shared
from pqsearch.finetunes import Job, finetune_all
from pqsearch.plan import LayerPlan, Plan
from pqsearch.prepare import load_data
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, parse_spec
from tests.conftest import small_spec
from trainers import files
from trainers.baseline import initial_model

PLAN = Plan(groups={"conv1": 0.5}, layers={"layer1.0.conv1": LayerPlan(3, 4), "linear": LayerPlan(8, 8)})
EXACT = {"epochs": 2, "lr": 0.05, "batch_size": 64, "amp": False, "freeze_batch_norm": True}


@pytest.fixture(scope="module", autouse=True)
def one_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that whatever is written past the run directory would land in."""
    home = tmp_path_factory.mktemp("home")
    before = os.environ["HOME"]
    os.environ["HOME"] = str(home)
    yield home
    os.environ["HOME"] = before
    ray.shutdown()


def _run(folder: Path, **changes: Any) -> tuple[Spec, RunDirectory]:
    spec = parse_spec(small_spec(study__run_dir=str(folder / "run"), **changes))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    return spec, run


def _untrained(spec: Spec, run: RunDirectory) -> None:
    files.save(initial_model(spec, load_data(spec)[0]).state_dict(), run.baseline)


def test_a_baseline_that_two_processes_train_is_in_the_run_directory_and_nothing_else(
    tmp_path: Path, one_ray: Path
) -> None:
    spec, run = _run(tmp_path, baseline__workers=2, baseline__epochs=2)
    before = set(run.path.rglob("*"))
    told: list[dict[str, Any]] = []
    listening: set[str] = set()

    def progress(state: dict[str, Any]) -> None:
        told.append(state)
        listening.update(_listening())

    train_shared(spec, run, progress)
    assert set(run.path.rglob("*")) - before == {run.baseline}
    assert files.load(run.baseline).keys() == initial_model(spec, load_data(spec)[0]).state_dict().keys()
    assert told and told[-1]["total"] == 2 and told[-1]["images"] == 60
    assert not any(one_ray.rglob("ray_results"))
    assert listening <= {"127.0.0.1"}


def _listening() -> set[str]:
    """Addresses at which processes that train together wait for others."""
    ours = [one for one in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(one.cmdline())]
    return {
        found.laddr.ip for one in ours for found in one.net_connections("tcp") if found.status == psutil.CONN_LISTEN
    }


def test_two_processes_fine_tune_what_one_does_and_a_rate_that_is_too_high_is_told_in_a_line(tmp_path: Path) -> None:
    spec, run = _run(tmp_path, finetune={**EXACT, "workers": 2})
    _untrained(spec, run)
    job = Job("searched", PLAN)
    two = finetune_all(spec, run, [job], lambda state: None)["searched"]
    shared = files.load(job.folder(run) / "weights.pth")
    alone, other = _run(tmp_path / "alone", finetune=EXACT)
    _untrained(alone, other)
    one = finetunes._finetune(alone.to_dict(), other.where, "searched", PLAN.to_json())
    weights = files.load(job.folder(other) / "weights.pth")
    assert max(float((weights[name] - shared[name]).abs().max()) for name in weights) < 1e-2
    assert {**two, "seconds": 0, "test_accuracy": 0} == {**one, "seconds": 0, "test_accuracy": 0}
