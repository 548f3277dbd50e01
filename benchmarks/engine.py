"""What the service costs beside the evaluations: workers kept busy, evaluations a second, and the study by itself.

    python benchmarks/engine.py [--only busy rate core calls mirror] [--json FILE]

`busy`: 16 workers whose evaluations sleep a second, after start-up. `rate`: evaluations that do nothing, through workers, study,
journal and Tune. Beside both, in the same run: Ray Tune with a trial per candidate and reused actors, Ray Tune with OptunaSearch, and
Optuna's own processes on a journal. `core`: the study alone, simulated: 100,000 evaluations on 1,000 workers (genetic, 63 knobs of
ResNet-32 under three budgets, repair and costs included), and what one evaluation costs after 1,000, 10,000 and 100,000 of them, each
in times of a fixed piece of work done beside it, with repair and without. `calls`: the function calls of these, which no busy machine
changes. `mirror`: evaluations a second that the Optuna mirror takes in, of such a study, the last of 2,000.
"""

from __future__ import annotations

import cProfile
import gc
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _engine_peers import PEERS
from _report import Row, at_least, at_most, json_argument, report
from _resnet import resnet_info
from _sleepers import through_the_service
from _times import Times

from pqsearch import environment
from pqsearch.journal.memory import MemoryJournal
from pqsearch.journal.optuna_mirror import Mirror
from pqsearch.open_study import make_study
from pqsearch.problem import IntArray
from pqsearch.simulated_landscapes import MadeUp
from pqsearch.simulator import Clock, Pace, Simulated, simulate
from pqsearch.spec import parse_spec
from pqsearch.study import Answer, Call, Study

WORKERS, SECOND, SLEEPS = 16, 1.0, 640
NOTHINGS = 6000
#: Fewer for the peers, who take so much longer.
PEER_SLEEPS, PEER_NOTHINGS = 160, 400
CORE_WORKERS, CORE_EVALUATIONS, CORE_SECONDS = 1000, 100_000, 5.0
#: 63 knobs that can be set: pruning and bits of ResNet-32, but for the bits of its first three blocks.
CORE: dict[str, Any] = {
    "study": {"name": "core", "evaluations": CORE_EVALUATIONS},
    "data": {"name": "digits"},
    "model": {"name": "cifar_resnet"},
    "space": {
        "pin": {
            f"layer1.{block}.conv{number}": {"weight_bits": 8, "act_bits": 8} for block in range(3) for number in (1, 2)
        }
    },
    "budgets": {"flops": 0.5, "weight_bits": 4.0, "act_bits": 4.0},
    "algorithm": {"name": "genetic"},
    "rungs": [{"kind": "calibrate"}],
}
MARKS = (1_000, 10_000, 100_000)
#: The piece of work that evaluations are compared with, and how often it is done.
YARD, YARD_EVERY_SECONDS = 5_000, 0.05
#: Evaluations in the mirror, and the last so many of them that are timed: it gets slower, if at all, as it grows.
MIRRORED, MIRRORED_LAST = 2_000, 500


def main() -> int:
    parser = json_argument(__doc__ or "")
    parts = {"core": core, "calls": calls, "mirror": mirror, "rate": rate, "busy": busy}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    options = parser.parse_args()
    environment.set_defaults()
    rows: list[Row] = []
    for name in options.only:
        rows += parts[name]()
        gc.collect()  # what one part leaves behind would be looked through again and again in the next
    return report(rows, options.json)


def core() -> Iterator[Row]:
    study, clock = _study()
    spent, repairs = _Costs(), _Repairs(study.space.repair)
    study.space.repair = repairs  # type: ignore[method-assign]
    exchange = study.exchange

    def watched(calls: Any) -> Any:
        spent.note(study.state.done, repairs.seconds)
        return exchange(calls)

    study.exchange = watched  # type: ignore[method-assign]
    began, before = time.process_time(), _gigabytes()
    found = _simulated(study, clock)
    name = f"study alone, {CORE_EVALUATIONS:,} evaluations on {CORE_WORKERS:,} workers"
    yield at_most(name, time.process_time() - began - spent.measuring, "processor s", 60)
    yield at_most(
        "its memory and that of all its events, beside what was loaded before", _gigabytes() - before, "GB", 1.0
    )
    yield Row("its simulated workers", 100 * found.busy, "% busy")
    costs = {mark: spent.around(mark) for mark in MARKS}
    first = costs[MARKS[0]]
    for mark in MARKS[1:]:
        cost, name = costs[mark], f"one evaluation after {mark:,}, by one after {MARKS[0]:,}"
        yield at_most(name, cost.whole / first.whole, "ratio", 1.1)
        others = (cost.whole - cost.repair) / (first.whole - first.repair)
        yield Row(f"{name}, all but repair", others, "ratio")


def calls() -> Iterator[Row]:
    """What `core` times, counted: it does not depend on the machine, nor tell what its caches do."""
    study, clock = _study()
    counted = _Calls(study)
    _simulated(study, clock)
    (others, repair), (others_last, repair_last) = counted.of(MARKS[0]), counted.of(MARKS[-1])
    yield Row(f"function calls of one evaluation after {MARKS[0]:,}", others + repair, "calls")
    yield Row(f"those in repair after {MARKS[0]:,}", repair, "calls")
    name = f"calls of one after {MARKS[-1]:,}, by one after {MARKS[0]:,}"
    yield at_most(name, (others_last + repair_last) / (others + repair), "ratio", 1.1)
    yield Row(f"{name}, all but repair", others_last / others, "ratio")
    yield Row(f"{name}, repair", repair_last / repair, "ratio")


def _study() -> tuple[Study, Clock]:
    clock = Clock()
    return make_study(parse_spec(CORE), resnet_info(32), MemoryJournal(clock), clock), clock


def _simulated(study: Study, clock: Clock) -> Simulated:
    seconds = CORE_SECONDS * np.exp(0.1 * np.random.default_rng(0).standard_normal(1000))
    return simulate(study, clock, CORE_WORKERS, Pace([seconds.tolist()]), MadeUp(study.space.levels, 0), 0)


class _Calls:
    """Function calls of a study's evaluations in the windows of the first and the last mark, and those inside of repair apart."""

    def __init__(self, study: Study) -> None:
        self._windows = {mark: _window(mark) for mark in (MARKS[0], MARKS[-1])}
        self._profiles = {mark: (cProfile.Profile(), cProfile.Profile()) for mark in self._windows}
        self._exchange, self._repair, self._state = study.exchange, study.space.repair, study.state
        study.exchange = self._exchanged  # type: ignore[method-assign]
        study.space.repair = self._repaired  # type: ignore[method-assign]
        self._now: tuple[cProfile.Profile, cProfile.Profile] | None = None

    def of(self, mark: int) -> tuple[float, float]:
        """Calls of one evaluation: outside of repair, and in it."""
        low, high = self._windows[mark]
        others, repair = (sum(row.callcount for row in profile.getstats()) for profile in self._profiles[mark])
        return others / (high - low), repair / (high - low)

    def _exchanged(self, calls: Sequence[Call]) -> list[Answer]:
        done = self._state.done
        mark = next((mark for mark, (low, high) in self._windows.items() if low <= done < high), None)
        if mark is None:
            return self._exchange(calls)
        others, _ = self._now = self._profiles[mark]
        others.enable()
        try:
            return self._exchange(calls)
        finally:
            others.disable()
            self._now = None

    def _repaired(self, genes: IntArray) -> IntArray:
        if self._now is None:
            return self._repair(genes)
        others, repair = self._now
        others.disable()
        repair.enable()
        try:
            return self._repair(genes)
        finally:
            repair.disable()
            others.enable()


class _Repairs:
    """Repair, watched: its processor seconds so far."""

    def __init__(self, repair: Callable[[IntArray], IntArray]) -> None:
        self.seconds = 0.0
        self._repair = repair

    def __call__(self, genes: IntArray) -> IntArray:
        began = time.process_time()
        found = self._repair(genes)
        self.seconds += time.process_time() - began
        return found


def _gigabytes() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _window(mark: int) -> tuple[int, int]:
    """From where to where an evaluation at a mark is looked at: over a fifth of the mark's own number, but of several times as many
    as are proposed together.

    After the mark, as the first thousand are first candidates for a thousand workers and bred from nothing; but before
    the last one, and up to where workers find nothing more to ask for.
    """
    width = max(mark // 5, 2 * CORE_WORKERS)
    return (mark, mark + width) if mark < MARKS[-1] else (mark - width, CORE_EVALUATIONS - CORE_WORKERS)


@dataclass(frozen=True)
class _Cost:
    """Of one evaluation, in times of the fixed piece of work; `repair` is a part of the `whole`."""

    whole: float
    repair: float


class _Costs:
    """What evaluations cost, in times of a fixed piece of work that is done now and then between them: over the minute that
    this takes, a machine that is shared gets faster and slower by more than what is asked.
    """

    def __init__(self) -> None:
        self.measuring = 0.0
        self._spent: list[tuple[int, float, float]] = []
        self._yards: list[tuple[int, float]] = []
        self._next = 0.0
        self._values = np.random.default_rng(0).random(YARD)

    def note(self, done: int, repairing: float) -> None:
        """Evaluations that are done at this moment, and the processor seconds that repair has taken."""
        began = time.process_time()
        self._spent.append((done, began - self.measuring, repairing))
        if began >= self._next:
            # Python's own objects and numpy's, as a study is made of.
            sorted(str(number) for number in range(YARD))
            np.sort(self._values)
            ended = time.process_time()
            self._yards.append((done, ended - began))
            self.measuring += ended - began
            self._next = ended + YARD_EVERY_SECONDS

    def around(self, mark: int) -> _Cost:
        """Of an evaluation in the window of a mark."""
        low, high = _window(mark)
        first, last = (next(one for one in self._spent if one[0] >= count) for count in (low, high))
        yard = statistics.median(seconds for done, seconds in self._yards if low <= done <= high)
        number = (last[0] - first[0]) * yard
        return _Cost((last[1] - first[1]) / number, (last[2] - first[2]) / number)


def mirror() -> Iterator[Row]:
    clock = Clock()
    spec = parse_spec({**CORE, "study": {"name": "core", "evaluations": MIRRORED}})
    study = make_study(spec, resnet_info(32), MemoryJournal(clock), clock)
    simulate(study, clock, WORKERS, Pace([[CORE_SECONDS]]), MadeUp(study.space.levels, 0), 0)
    rows = [study.state.row(id) for id in study.state.ended[:MIRRORED]]
    names = [f"{row.kind}/{row.name}" for row in study.space.table.rows]
    with tempfile.TemporaryDirectory() as folder:
        view = Mirror(Path(folder) / "optuna.log", spec.study.name, study.space, names, spec.study.objectives)
        view.follow(rows[:-MIRRORED_LAST])
        began = time.perf_counter()
        view.follow(rows[-MIRRORED_LAST:])
        spent = time.perf_counter() - began
    yield at_least("the Optuna mirror takes in", MIRRORED_LAST / spent, "evaluations a second", 50)


def rate() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        ours = _rate([one for mine in through_the_service(Path(folder), 2, NOTHINGS, 0.0) for one in mine])
    yield at_least("evaluations that do nothing, through the whole service", ours, "a second", 500)
    for name, peer in PEERS.items():
        theirs = _rate(peer(2, PEER_NOTHINGS, 0.0))
        yield Row(f"the same, {name}", theirs, "a second")
        yield Row("ratio", ours / theirs, "times")


def _rate(times: Times) -> float:
    """Evaluations a second, but for the first tenth and the last, which are start-up and confirming."""
    moments = sorted(end for _, end in times)
    begin, end = len(moments) // 10, 9 * len(moments) // 10
    return (end - begin) / (moments[end] - moments[begin])


def busy() -> Iterator[Row]:
    called = time.time()
    with tempfile.TemporaryDirectory() as folder:
        times = sorted(one for mine in through_the_service(Path(folder), WORKERS, SLEEPS, SECOND) for one in mine)
    yield Row(f"from the call until {WORKERS} workers evaluate, Ray started too", times[WORKERS - 1][0] - called, "s")
    ours = _busy(times)
    yield at_least(f"{WORKERS} workers, {SLEEPS} evaluations of {SECOND:g} s", 100 * ours, "% busy", 97)
    for name, peer in PEERS.items():
        theirs = _busy(peer(WORKERS, PEER_SLEEPS, SECOND))
        yield Row(f"the same, {PEER_SLEEPS} of them, {name}", 100 * theirs, "% busy")
        yield Row("ratio", ours / theirs, "times")


def _busy(times: Times) -> float:
    """Share of the workers' time that went into evaluations, from when as many had begun as there are workers until the last
    was handed out: neither starting up nor running out of work is counted.
    """
    times = sorted(times)
    begin, end = times[WORKERS - 1][0], times[-1][0]
    worked = sum(max(0.0, min(until, end) - max(since, begin)) for since, until in times)
    return worked / (WORKERS * (end - begin))


if __name__ == "__main__":
    sys.exit(main())
