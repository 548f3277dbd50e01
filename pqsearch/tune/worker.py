"""A worker: one long-lived Tune trial that loads data and baseline once and evaluates plan after plan."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

import ray
from ray import tune

from pqsearch.plan import Item, Result
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec

#: How long one `step` waits for work before it gives Tune a sign of life.
STEP_SECONDS = 5.0
POLL_SECONDS = 0.1


class Worker(tune.Trainable):
    """`config` holds seat, study (the actor's name), spec, run_dir."""

    def setup(self, config: dict[str, Any]) -> None:
        self.seat: str = config["seat"]
        self.incarnation = uuid.uuid4().hex
        self.study = ray.get_actor(config["study"])
        started = time.monotonic()
        try:
            self.context = _context(config)
        except Exception as error:
            ray.get(self.study.setup_failed.remote(self.seat, f"{type(error).__name__}: {error}"))
            raise
        self.started = RunDirectory(config["run_dir"]).logs / f"started-{self.seat}.jsonl"
        capacity = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "setup_seconds": round(time.monotonic() - started, 3),
            **_capacity(self.context),
        }
        ray.get(self.study.join.remote(self.seat, self.incarnation, capacity))

    def step(self) -> dict[str, Any]:
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            answer = ray.get(self.study.ask.remote(self.seat))
            if answer["state"] == "finished":
                return {"results": [], "done": True}
            if answer["items"]:
                results = [self._evaluate(item) for item in answer["items"]]
                ray.get(self.study.report.remote(self.seat, results))
                return {"results": [_row(result) for result in results], "done": False, **_scalars(results[-1])}
            if time.monotonic() > deadline:
                ray.get(self.study.beat.remote(self.seat))
                return {"results": [], "done": False}
            time.sleep(POLL_SECONDS)

    def cleanup(self) -> None:
        ray.get(self.study.leave.remote(self.seat, self.incarnation, "the worker ended"))

    def _evaluate(self, item: Item) -> Result:
        from trainers.proxy import evaluate

        _note_start(self.started, self.seat, item)
        return evaluate(self.context, item)


def _context(config: dict[str, Any]) -> Any:
    # torch is loaded here, in the worker, after its environment is set.
    from pqsearch.prepare import load_data
    from trainers.device import pick, set_threads
    from trainers.proxy import make_context

    spec = parse_spec(config["spec"])
    run = RunDirectory(config["run_dir"])
    set_threads(spec.workers.cpus)
    dataset, splits = load_data(spec)
    return make_context(spec, dataset, splits, run.baseline, run.scratch, pick(spec.workers.gpus))


def _capacity(context: Any) -> dict[str, Any]:
    from trainers.device import fingerprint

    return {"device": str(context.device), **fingerprint()}


def _note_start(path: Path, seat: str, item: Item) -> None:
    """Write down that an evaluation begins, before it does: what was paid for can be counted from outside."""
    row = {"seat": seat, "id": item.id, "rung": item.rung, "repeat": item.repeat, "plan": item.plan.hash}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _row(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "rung": result.rung,
        "accuracy": result.accuracy.value if result.accuracy else None,
        "loss": result.loss,
        "failure": result.failure,
        "seconds": dict(result.seconds),
    }


def _scalars(result: Result) -> dict[str, float]:
    """What TensorBoard can draw."""
    if result.accuracy is None or result.loss is None:
        return {}
    return {"accuracy": result.accuracy.value, "loss": result.loss, "seconds": sum(result.seconds.values())}
