"""Shared by all tests: small specs, one small finished run, and an environment in which torch does not spin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pqsearch import environment
from tests import s3

environment.set_defaults()
os.environ.setdefault("OMP_NUM_THREADS", "1")


def small_spec(**changes: Any) -> dict[str, Any]:
    """A spec that runs in seconds; `changes` maps `section__key` to values."""
    spec: dict[str, Any] = {
        "study": {"name": "small", "evaluations": 6, "objectives": ["loss"], "confirm": 1, "confirm_repeats": 1},
        "data": {"name": "digits", "score_images": 100, "select_images": 60, "augment": ["crop"]},
        "model": {"name": "digits_net", "options": {"width": 8, "blocks": 1}},
        "baseline": {"epochs": 6, "lr": 0.1, "batch_size": 64},
        "space": {"prune_rate": [0.0, 0.25, 0.5], "weight_bits": [2, 3, 4, 8], "act_bits": [3, 4, 8]},
        "budgets": {"flops": 0.6, "weight_bits": 4.0, "act_bits": 5.0},
        "algorithm": {"name": "genetic", "population": 4},
        "rungs": [{"kind": "calibrate", "images": 64}, {"kind": "fine_tune", "steps": 8, "batch_size": 32}],
        "finetune": {"epochs": 2, "lr": 0.05, "batch_size": 64},
        "workers": {"count": 2, "cpus": 1},
    }
    for path, value in changes.items():
        section, _, key = path.partition("__")
        if key:
            spec.setdefault(section, {})[key] = value
        else:
            spec[section] = value
    return spec


def write_spec(folder: Path, **changes: Any) -> Path:
    """`small_spec` as a file, its run directory in `folder`."""
    import tomli_w

    changes.setdefault("study__run_dir", str(folder / "run"))
    path = folder / "spec.toml"
    path.write_text(tomli_w.dumps(small_spec(**changes)))
    return path


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums come out the same in every process, whoever computes them, and none of them fight over the cores. A search that a
    fixture or an earlier test began in this process has set a number of its own.
    """
    import torch

    torch.set_num_threads(1)


def join_ray() -> None:
    """A Ray that fits `small_spec`, which searches of this process then share; nothing where there is one."""
    from cluster import local
    from pqsearch.spec import parse_spec

    local.connect(local.render(parse_spec(small_spec())))


@pytest.fixture
def warm_ray() -> None:
    """For tests of what a search does, not of how it comes to a Ray: starting one takes longer than they do."""
    join_ray()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.Server]:
    """An S3 server for all tests that want one."""
    with s3.server() as found:
        yield found


@pytest.fixture
def s3_bucket(s3_server: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Bucket]:
    """A bucket of the test's own, the keys to it in the environment, and a cache of the test's own."""
    import ray

    for name, value in s3.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ray.shutdown()  # workers of a Ray that runs already have neither keys nor this cache
    yield s3_server.bucket()
    ray.shutdown()
    s3_server.ask_for_keys(False)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small run that went through every stage, on a real Ray. Nobody writes into it: it is made once for
    all processes that share out the tests.
    """
    from pqsearch.cli import main

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not (folder / "run" / "summary.json").exists():
            folder.mkdir(exist_ok=True)
            join_ray()
            # As many evaluations as a forecast needs.
            assert main(["run", str(write_spec(folder, study__evaluations=9))]) == 0
    return folder / "run"
