"""Evaluations that only take time, through the whole service: workers, study, journal and Tune."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ray

from pqsearch.plan import Accuracy, Item, Result
from pqsearch.prepare import prepare
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, parse_spec
from pqsearch.study import read_study
from pqsearch.tune.driver import search
from pqsearch.tune.worker import Worker


class Sleeper(Worker):
    """Loads nothing, sleeps as long as its spec's name says, and writes down when. Its name may give the spread, too: plans then
    differ by so much, evenly, up and down.
    """

    def load(self, config: dict[str, Any]) -> tuple[float, float]:
        self.times = (RunDirectory(config["run_dir"]).logs / f"times-{config['seat']}.jsonl").open("w")
        _, seconds, spread = config["spec"]["study"]["name"].split("-")
        return float(seconds), float(spread)

    def capacity(self) -> dict[str, Any]:
        return {}

    def evaluate(self, item: Item) -> Result:
        began = time.time()
        seconds, spread = self.context
        share = int(item.plan.hash, 16) / 16**16
        time.sleep(seconds + spread * (2 * share - 1))
        self.times.write(json.dumps([began, time.time()]) + "\n")
        self.times.flush()
        return Result(item.id, item.rung, item.repeat, Accuracy(share, 1000), 1 - share, {"sleep": seconds})


def sleeping_spec(folder: Path, workers: int, evaluations: int, seconds: float, spread: float = 0.0) -> Spec:
    """A search of plans for digits whose evaluations take `seconds`, give or take `spread`."""
    return parse_spec(
        {
            "study": {
                "name": f"sleep-{seconds:g}-{spread:g}", "evaluations": evaluations, "run_dir": str(folder / "run"),
                "confirm": 0, "objectives": ["loss"],
            },
            "data": {"name": "digits", "score_images": 100, "select_images": 60},
            "model": {"name": "digits_net"},
            "budgets": {"flops": 0.5, "weight_bits": 4.0, "act_bits": 4.0},
            "algorithm": {"name": "genetic"},
            "sensitivity": {"source": "none"},
            "rungs": [{"kind": "calibrate"}],
            "workers": {"count": workers, "cpus": 2 / workers},
        }
    )  # fmt: skip


def through_the_service(
    folder: Path, workers: int, evaluations: int, seconds: float, spread: float = 0.0
) -> list[list[tuple[float, float]]]:
    """When each worker began and ended each of its evaluations."""
    spec = sleeping_spec(folder, workers, evaluations, seconds, spread)
    run = RunDirectory.of(spec)
    run.prepare(spec)
    search(spec, run, prepare(spec).info, "none", lambda progress: None, worker=Sleeper)
    assert read_study(run.journal).counts["done"] == evaluations
    ray.shutdown()
    files = run.logs.glob("times-*.jsonl")
    return [[tuple(json.loads(line)) for line in path.read_text().splitlines()] for path in files]
