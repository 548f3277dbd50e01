"""Trainings that two processes share, through Ray Train on a Ray of this machine's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from pqsearch import finetunes
from pqsearch.baselines import train_shared
from pqsearch.finetunes import Job, finetune_all
from pqsearch.plan import Plan
from pqsearch.prepare import load_data
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, parse_spec
from tests.conftest import small_spec
from trainers import files
from trainers.baseline import initial_model

pytestmark = pytest.mark.long

#: Without a grid: on which side of one a value falls is up to the processor, and so is all that follows from it.
PLAN = Plan(groups={"conv1": 0.5}, layers={})
#: In float32 and with frozen batch norm; and what rounding makes of a weight then (`docs/training.md`).
EXACT = {"epochs": 2, "lr": 0.05, "batch_size": 64, "amp": False, "freeze_batch_norm": True}
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def one_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that whatever is written past the run directory would land in."""
    home = tmp_path_factory.mktemp("home")
    before = os.environ["HOME"]
    if (token := Path(before) / ".ray" / "auth_token").is_file():  # Ray makes one in its first home only
        (home / ".ray").mkdir()
        shutil.copy(token, home / ".ray")
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
    train_shared(spec, run, told.append)
    assert set(run.path.rglob("*")) - before == {run.baseline}
    assert files.load(run.baseline).keys() == initial_model(spec, load_data(spec)[0]).state_dict().keys()
    assert told and told[-1]["total"] == 2 and told[-1]["images"] == 60
    assert not any(one_ray.rglob("ray_results"))


def test_a_fine_tune_by_two_processes_is_that_of_one(tmp_path: Path) -> None:
    spec, run = _run(tmp_path, finetune={**EXACT, "workers": 2})
    _untrained(spec, run)
    job = Job("searched", PLAN)
    told: list[dict[str, Any]] = []
    two = finetune_all(spec, run, [job], told.append)["searched"]
    assert told[-1] == {"stage": "finetune", "done": 2, "total": 2, "running": 0}
    alone, other = _run(tmp_path / "alone", finetune=EXACT)
    _untrained(alone, other)
    one = finetunes._finetune(alone.to_dict(), other.where, "searched", PLAN.to_json())
    first, second = (files.load(job.folder(place) / "weights.pth") for place in (run, other))
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < TOLERANCE
    assert two["best_epoch"] == one["best_epoch"] and two.keys() == one.keys()
    assert not any(run.scratch.iterdir())
