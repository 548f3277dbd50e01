"""Workers that share a GPU: Ray's own count of one that need not be there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from pqsearch.plan import Item, Result
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.tune.driver import search
from tests.conftest import write_spec
from tests.long.misbehaving import Light

pytestmark = pytest.mark.long

WORKERS = 4
PATIENCE_SECONDS = 120


@pytest.fixture
def one_gpu() -> Iterator[None]:
    """A Ray of its own that counts one GPU."""
    ray.shutdown()
    ray.init(num_cpus=1, num_gpus=1, namespace="pqsearch", include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def _search(folder: Path, worker: type[Light]) -> tuple[dict[str, Any], RunDirectory]:
    """A search on four workers that share a GPU: its last progress, and its run directory."""
    changes: dict[str, Any] = {"sensitivity": {"source": "none"}, "rungs": [{"kind": "calibrate"}]}
    workers = {"count": WORKERS, "cpus": 0.25, "gpus": 0.25}
    spec = load_spec(write_spec(folder, study__evaluations=16, workers=workers, **changes))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    # This machine need not have one.
    without = spec.model_copy(update={"workers": spec.workers.model_copy(update={"gpus": 0})})
    return search(spec, run, prepare(without).info, "none", lambda progress: None, worker=worker), run


class Meeting(Light):
    """A worker evaluates nothing before all of them are there."""

    def load(self, config: dict[str, Any]) -> Any:
        return RunDirectory(config["run_dir"]).scratch

    def evaluate(self, item: Item) -> Result:
        (self.context / f"{self.seat}-{ray.get_gpu_ids()[0]}").touch()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(list(self.context.iterdir())) < WORKERS:
            time.sleep(0.05)
            if time.monotonic() > deadline:
                (self.context / "alone").touch()
        return super().evaluate(item)


def test_four_workers_with_a_quarter_of_a_gpu_each_work_at_once(tmp_path: Path, one_gpu: None) -> None:
    state, run = _search(tmp_path, Meeting)
    assert state["finished"]
    assert sorted(path.name for path in run.scratch.iterdir()) == [f"worker-{number}-0" for number in range(WORKERS)]
