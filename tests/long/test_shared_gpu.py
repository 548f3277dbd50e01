"""Workers that share a GPU: Ray's own count of one that need not be there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from pqsearch.plan import Item, Result
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from pqsearch.tune.driver import search
from tests.chaos.ledger import acknowledged, started
from tests.conftest import write_spec
from tests.long.misbehaving import Light

pytestmark = pytest.mark.long

WORKERS = 4
PATIENCE_SECONDS = 400
BIG, HUGE = 5, 9


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


class Greedy(Light):
    """One candidate needs more than a share, another more than there is; whoever evaluates leaves a file while at it."""

    def load(self, config: dict[str, Any]) -> Any:
        return RunDirectory(config["run_dir"]).scratch

    def rest(self) -> None:
        (self.context / f"rests-{self.seat}").touch()

    def evaluate(self, item: Item) -> Result:
        mine = self.context / f"busy-{self.seat}"
        mine.touch()
        try:
            if item.repeat == 0 and item.id in (BIG, HUGE):
                return self._evaluate_big(item)
            time.sleep(0.2)
            return super().evaluate(item)
        finally:
            mine.unlink()

    def _evaluate_big(self, item: Item) -> Result:
        seen = set()
        for _ in range(20):
            time.sleep(0.05)
            seen |= {path.name for path in self.context.glob("busy-*")}
        if item.alone and item.id == BIG and len(seen) == 1:
            return super().evaluate(item)
        failure = f"out of memory, alone {item.alone}, beside {len(seen) - 1}"
        return Result(item.id, item.rung, item.repeat, None, None, {}, failure=failure, crowded=not item.alone)


def test_a_plan_too_large_for_a_share_gets_the_gpu_for_itself_before_it_is_blamed(
    tmp_path: Path, one_gpu: None
) -> None:
    state, run = _search(tmp_path, Greedy)
    assert state["finished"]
    study = read_study(run.journal)
    failures = {row["id"]: row["failure"] for row in study.candidates() if row["state"] == "failed"}
    assert failures == {HUGE: "out of memory, alone True, beside 0"}
    begun = Counter(started(run.path))
    assert begun == Counter({key: 1 + (key[0] in (BIG, HUGE) and key[2] == 0) for key in begun})
    assert set(acknowledged(run.path).values()) == {1}
    assert list(run.scratch.glob("rests-*")), "who waits gives memory back"


def test_four_workers_with_a_quarter_of_a_gpu_each_work_at_once(tmp_path: Path, one_gpu: None) -> None:
    state, run = _search(tmp_path, Meeting)
    assert state["finished"]
    assert sorted(path.name for path in run.scratch.iterdir()) == [f"worker-{number}-0" for number in range(WORKERS)]
