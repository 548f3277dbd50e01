"""A search on workers that are not there: the real study under a clock that jumps from result to result.

What cluster to rent is known before it is rented: how long the search would take, how busy the workers would be, what the study
itself costs, and how the best plan comes along. The study, its algorithm, repair and costs are the real ones; evaluations are
only their duration, and a score.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

import numpy as np

from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Finished, FloatArray, IntArray
from pqsearch.settling import Settling
from pqsearch.study import Call, Study

#: What is noted of the best plan: after each of so many equal parts of the evaluations.
PARTS = 20
#: How long a worker waits where the study has nothing yet.
POLL_SECONDS = 0.5


class Clock:
    """Seconds since the workers were asked for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Landscape(Protocol):
    """What plans are worth, on a scoring slice of so many images."""

    images: int

    def accuracies(self, genes: IntArray) -> FloatArray:
        """Without noise, of genes (plans, knobs)."""
        ...


@dataclass(frozen=True)
class Pace:
    """How evaluations go. `seconds` are drawn from, a list per rung; `failures` is the chance that a rung fails.

    `start` seconds pass until a worker has loaded its data; noise is the standard deviation of one measured accuracy.
    """

    seconds: Sequence[Sequence[float]]
    failures: float = 0.0
    start: float = 0.0
    noise: float = 0.01


@dataclass
class Simulated:
    """`wall` seconds of the search, `busy` the share of the workers' time after their start that went into evaluations.

    `study_seconds` are processor seconds of the study, its algorithm and repair; `best` has evaluations done, seconds, and the
    accuracy without noise of the plan with the best score by then.
    """

    workers: int
    evaluations: int = 0
    failed: int = 0
    wall: float = 0.0
    busy: float = 0.0
    worker_seconds: float = 0.0
    study_seconds: float = 0.0
    best: list[tuple[int, float, float]] = field(default_factory=list)


def simulate(study: Study, clock: Clock, workers: int, pace: Pace, landscape: Landscape, seed: int) -> Simulated:
    """Run a study to its end on `workers` that ask one by one, as they become free. The same seed gives the same search."""
    settling = Settling()
    try:
        return _simulate(study, clock, workers, pace, landscape, seed, settling)
    finally:
        settling.end()


def _simulate(
    study: Study, clock: Clock, workers: int, pace: Pace, landscape: Landscape, seed: int, settling: Settling
) -> Simulated:
    rng = np.random.default_rng(seed)
    paces = [np.asarray(seconds) for seconds in pace.seconds]
    found = Simulated(workers)
    # When a seat comes back, and with what: nothing where it has only waited.
    coming: list[tuple[float, int, str, Item | None]] = []
    for number in range(workers):
        study.join(f"worker-{number}", "simulated", {})
        coming.append((pace.start, number, f"worker-{number}", None))
    order = workers
    while coming:
        clock.now = coming[0][0]
        calls = []
        while coming and coming[0][0] == clock.now:
            _, _, seat, item = heappop(coming)
            results = [] if item is None else [_result(study, item, pace, landscape, rng)]
            calls.append(Call(seat, results, 1))
        began = time.process_time()
        answers = study.exchange(calls)
        settling.note(study.state.done)
        found.study_seconds += time.process_time() - began
        _note(study, landscape, clock.now, found)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Finished):
                continue
            item, seconds = None, POLL_SECONDS
            if isinstance(answer, list):
                (item,) = answer
                drawn = paces[item.rung if item.id >= 0 else -1]
                seconds = float(drawn[rng.integers(len(drawn))])
                found.worker_seconds += seconds
                found.wall = max(found.wall, clock.now + seconds)
            heappush(coming, (clock.now + seconds, order, call.seat, item))
            order += 1
    found.evaluations, found.failed = study.state.evaluations, study.state.counts["failed"]
    found.busy = found.worker_seconds / (workers * max(found.wall - pace.start, 1e-9))
    return found


def _result(study: Study, item: Item, pace: Pace, landscape: Landscape, rng: np.random.Generator) -> Result:
    seconds = {"simulated": 0.0}
    if item.kind == "gradients":
        return Result(item.id, 0, 0, None, None, seconds, expected=_expected(study, landscape))
    if rng.random() < pace.failures:
        return Result(item.id, item.rung, item.repeat, None, None, seconds, failure="failed as asked for")
    genes = study.genes_of(item)
    # Lower rungs say less.
    noise = pace.noise * (len(pace.seconds) - item.rung)
    value = float(landscape.accuracies(np.array([genes]))[0]) + noise * rng.standard_normal()
    accuracy = min(1.0, max(0.0, value))
    weights = None if item.last else f"{item.id}-{item.repeat}-{item.rung}.pth"
    return Result(item.id, item.rung, item.repeat, Accuracy(accuracy, landscape.images), 1 - accuracy, seconds, weights)


def _expected(study: Study, landscape: Landscape) -> tuple[float, ...]:
    """What each probe would cost by itself, as one backward pass says at once."""
    probing = study.state.probing
    assert probing is not None
    genes = np.repeat(np.array([probing.levels], dtype=np.int64) - 1, len(probing.probes) + 1, axis=0)
    for row, probe in enumerate(probing.probes, start=1):
        genes[row, probe.knob] = probe.level
    dearest, *others = landscape.accuracies(genes).tolist()
    return tuple(max(0.0, dearest - other) for other in others)


def _note(study: Study, landscape: Landscape, now: float, found: Simulated) -> None:
    done = study.state.done
    if done < (len(found.best) + 1) * study.settings.evaluations / PARTS:
        return
    best = study.best()
    if best is not None:
        found.best.append((done, now, float(landscape.accuracies(np.array([best["genes"]]))[0])))
