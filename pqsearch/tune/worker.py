"""A worker: one long-lived Tune trial that loads data and baseline once and evaluates plan after plan."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from pqsearch.plan import Item, Result
from pqsearch.run_dir import RunDirectory, append_line
from pqsearch.spec import parse_spec
from pqsearch.study_fold import Key
from pqsearch.tune.beats import Beats
from pqsearch.tune.lane import Lane
from pqsearch.tune.time_limits import TimeLimits
from pqsearch.tune.workplace import Workplace

#: How long one `step` lasts at least: Tune's own loop takes a few hundred results a second, from all workers together.
STEP_SECONDS = 5.0
#: Where the study has nothing yet, how long until it is asked again: a moment, and longer each time.
POLL_SECONDS, LONGEST_POLL_SECONDS = 0.05, 0.5


class Worker(tune.Trainable):
    """`config` holds seat, study (the actor's name), spec, run_dir. A benchmark's own kind loads and evaluates something else."""

    #: What Ray calls it; a worker that fails before it knows its study and its seat is called so.
    called = "worker"

    def setup(self, config: dict[str, Any]) -> None:
        self.seat: str = config["seat"]
        self.incarnation = uuid.uuid4().hex
        self.study = ray.get_actor(config["study"])
        spec = parse_spec(config["spec"])
        self.called = f"{spec.study.name}/{self.seat}"
        self.shares = _shared_gpu(spec.workers.gpus)
        self.beats = Beats(self.study, self.seat, self.incarnation, self.shares, spec.workers.silence_seconds)
        self.beats.start()
        started = time.monotonic()
        try:
            self.place = Workplace(RunDirectory(config["run_dir"]), self.seat)
            self.context = self.load(config)
        except Exception as error:
            ray.get(self.study.setup_failed.remote(self.seat, f"{type(error).__name__}: {error}"))
            raise
        self.started = self.place.started
        self.limits = TimeLimits([rung.max_seconds for rung in spec.rungs], self.place.hung)
        capacity = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "shares": self.shares,
            "setup_seconds": round(time.monotonic() - started, 3),
            **self.capacity(),
        }
        ray.get(self.study.join.remote(self.seat, self.incarnation, capacity))
        self.lane = self.beats.lane = Lane(self._begin, time.monotonic)

    def __repr__(self) -> str:
        """Ray's dashboard and logs show it."""
        return self.called

    def step(self) -> dict[str, Any]:
        rows, scalars = [], {}
        deadline, poll = time.monotonic() + STEP_SECONDS, POLL_SECONDS
        self.place.tidy()
        while time.monotonic() < deadline:
            item = self.lane.next()
            if item is not None:
                began = time.monotonic()
                result = self._evaluate(item)
                self.lane.done(item, result, time.monotonic() - began)
                rows.append(_row(result))
                scalars, poll = _scalars(result), POLL_SECONDS
            elif self.lane.finished:
                self.lane.flush()
                return {"results": rows, "done": True, **scalars}
            else:
                if poll == POLL_SECONDS and self.shares is not None:
                    self.rest()
                time.sleep(poll)
                poll = min(2 * poll, LONGEST_POLL_SECONDS)
        return {"results": rows, "done": False, **scalars}

    def cleanup(self) -> None:
        self.lane.flush()
        self.beats.stop()
        self.place.tidy(last=True)
        ray.get(self.study.leave.remote(self.seat, self.incarnation, "the worker ended"))

    def _begin(self, results: Sequence[Result], number: int, holding: Sequence[Key]) -> Callable[[], dict[str, Any]]:
        answer = self.study.exchange.remote(self.seat, list(results), number, list(holding), self.shares)
        return lambda: ray.get(answer)

    def load(self, config: dict[str, Any]) -> Any:
        """What a worker makes once."""
        return _context(config)

    def capacity(self) -> dict[str, Any]:
        """What a score depends on besides plan and seed."""
        from trainers.device import fingerprint

        return {"device": str(self.context.device), **fingerprint()}

    def rest(self) -> None:
        """Nothing to do: what it shares may be another's for the moment."""
        from trainers.device import release

        release(self.context.device)

    def evaluate(self, item: Item) -> Result:
        from trainers.proxy import evaluate

        return evaluate(self.context, item)

    def lost(self, item: Item) -> list[Item]:
        """Lower rungs to climb once more: their weights were on a disk that is gone, or is another machine's."""
        from trainers.proxy import lost_rungs

        return lost_rungs(self.context, item)

    def _evaluate(self, item: Item) -> Result:
        try:
            again: list[Result] = []
            for lower in self.lost(item) if item.start is not None else []:
                again.append(self._evaluate_one(lower, recomputed=True))
                if again[-1].failure is not None:
                    return replace(again[-1], rung=item.rung, recomputed=len(again))
            result = self._evaluate_one(item)
            if not again:
                return result
            seconds = {**result.seconds, "recomputed": sum(sum(lower.seconds.values()) for lower in again)}
            return replace(result, seconds=seconds, recomputed=len(again))
        except Exception as error:
            self.lane.flush()
            self.beats.stop()
            trouble = _trouble(error)
            if trouble is not None:
                ray.get(self.study.stumbled.remote(self.seat, self.incarnation, trouble))
            else:
                reason = f"{type(error).__name__}: {error}"
                ray.get(self.study.broke.remote(self.seat, self.incarnation, reason))
            raise

    def _evaluate_one(self, item: Item, recomputed: bool = False) -> Result:
        _note_start(self.started, self.seat, item, recomputed)
        with self.limits.watch(item, self._hangs):
            return self.evaluate(item)

    def _hangs(self, item: Item, seconds: float) -> None:
        reason = f"took longer than rungs[{item.rung}].max_seconds = {seconds:g} and was ended"
        ray.get(self.study.fail.remote(self.seat, item.id, reason, item.repeat))


def _context(config: dict[str, Any]) -> Any:
    # torch is loaded here, in the worker, after its environment is set.
    from pqsearch.prepare import load_data
    from trainers.device import limit_memory, pick, set_threads
    from trainers.proxy import make_context

    spec = parse_spec(config["spec"])
    run = RunDirectory(config["run_dir"])
    set_threads(spec.workers.cpus)
    device = pick(spec.workers.gpus)
    limit_memory(device, spec.workers.gpus)
    dataset, splits = load_data(spec)
    return make_context(spec, dataset, splits, run.baseline, run.scratch, device)


def _shared_gpu(gpus: float) -> str | None:
    """The GPU that a worker shares, by a name that is the same for all who do; None where it has one for itself, or none."""
    if not 0 < gpus < 1:
        return None
    return f"{ray.get_runtime_context().get_node_id()}/{ray.get_gpu_ids()[0]}"


def _trouble(error: BaseException | None) -> str | None:
    """What the system refused, as a full disk does; None where that is not what an error comes from."""
    while error is not None:
        if isinstance(error, OSError):
            return f"{type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__  # torch reports what a file told it as an error of its own
    return None


def _note_start(path: Path, seat: str, item: Item, recomputed: bool) -> None:
    """Write down that an evaluation begins, before it does: what was paid for can be counted from outside."""
    row = {"seat": seat, "id": item.id, "rung": item.rung, "repeat": item.repeat, "plan": item.plan.hash}
    row |= {"pid": os.getpid(), **({"recomputed": True} if recomputed else {})}
    append_line(path, json.dumps(row))


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
