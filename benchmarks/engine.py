"""What the service costs beside the evaluations: workers kept busy, evaluations a second, and the study by itself.

    python benchmarks/engine.py [--only busy rate core calls mirror] [--json FILE]

`busy`: 16 workers whose evaluations sleep a second, after start-up. `rate`: evaluations that do nothing, through workers, study,
journal and Tune. Beside both, in the same run: Ray Tune with a trial per candidate and reused actors, Ray Tune with OptunaSearch, and
Optuna's own processes on a journal. `core`: the study alone, simulated: 100,000 evaluations on 1,000 workers (genetic, 63 knobs of
ResNet-32 under three budgets, repair and costs included), and what one evaluation costs after 10,000 and 100,000 of them by one after
1,000, in young studies that run in the midst of the long one (medians of four parts), with repair and without. `calls`: the function
calls of these, which no busy machine changes. `mirror`: evaluations a second that the Optuna mirror takes in, of such a study, the last of
2,000.
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
from itertools import pairwise
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
    "study": {"name": "core"},
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
#: Parts of what is timed at a mark, each between two young studies.
PARTS = 4
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
    before = _gigabytes()
    study, clock = _study()
    spent = _Spent(study, [stop for mark in MARKS[1:] for stop in _stops(mark)], _young)
    began = time.process_time()
    found = _simulated(study, clock)
    seconds = time.process_time() - began - spent.aside
    name = f"study alone, {CORE_EVALUATIONS:,} evaluations on {CORE_WORKERS:,} workers"
    yield at_most(name, seconds, "processor s", 60)
    yield at_most(
        "its memory and that of all its events, beside what was loaded before", _gigabytes() - before, "GB", 1.0
    )
    yield Row("its simulated workers", 100 * found.busy, "% busy")
    for mark in MARKS[1:]:
        parts, name = spent.within(_stops(mark)), f"one evaluation after {mark:,}, by one after {MARKS[0]:,}"
        yield at_most(name, statistics.median(cost.whole / young.whole for cost, young in parts), "ratio", 1.1)
        others = ((cost.whole - cost.repair) / (young.whole - young.repair) for cost, young in parts)
        yield Row(f"{name}, all but repair", statistics.median(others), "ratio")


def _young() -> _Cost:
    """Of an evaluation after the first mark, in a study that goes little further: that takes two seconds."""
    low, high = _window(MARKS[0])
    study, clock = _study(high + CORE_WORKERS)
    spent = _Spent(study, [low, high])
    _simulated(study, clock)
    ((cost, _),) = spent.within([low, high])
    return cost


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


def _study(evaluations: int = CORE_EVALUATIONS) -> tuple[Study, Clock]:
    clock, spec = Clock(), parse_spec({**CORE, "study": {"name": "core", "evaluations": evaluations}})
    return make_study(spec, resnet_info(32), MemoryJournal(clock), clock), clock


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


def _stops(mark: int) -> list[int]:
    """Between which the evaluations of a mark's window are timed."""
    return [int(stop) for stop in np.linspace(*_window(mark), PARTS + 1)]


@dataclass(frozen=True)
class _Cost:
    """Processor seconds of one evaluation; `repair` is a part of the `whole`."""

    whole: float
    repair: float


class _Spent:
    """What the evaluations of a study take between some of their numbers.

    At each of these `beside` is timed too, in the midst of the study: over the minute that a long one takes, a machine that is shared
    gets faster and slower by more than what is asked.
    """

    def __init__(self, study: Study, stops: Sequence[int], beside: Callable[[], _Cost] | None = None) -> None:
        self.aside = 0.0
        self._repairing = 0.0
        self._passed: dict[int, tuple[int, float, float, _Cost]] = {}
        self._state, self._stops, self._beside = study.state, list(stops), beside
        self._exchange, self._repair = study.exchange, study.space.repair
        study.exchange = self._exchanged  # type: ignore[method-assign]
        study.space.repair = self._repaired  # type: ignore[method-assign]

    def within(self, stops: Sequence[int]) -> list[tuple[_Cost, _Cost]]:
        """Of one evaluation between each two of `stops`; and of one of what was timed beside, in the mean of the two."""
        found = []
        for low, high in pairwise(self._passed[stop] for stop in stops):
            number, whole, repair = (end - begin for begin, end in zip(low[:3], high[:3], strict=True))
            ends = low[3], high[3]
            beside = _Cost(statistics.fmean(end.whole for end in ends), statistics.fmean(end.repair for end in ends))
            found.append((_Cost(whole / number, repair / number), beside))
        return found

    def _exchanged(self, calls: Sequence[Call]) -> list[Answer]:
        if self._stops and self._state.done >= self._stops[0]:
            began = time.process_time()
            beside = _Cost(0.0, 0.0)
            if self._beside is not None:
                beside = self._beside()
                # The other study, when it ended, gave everything back to the collector.
                gc.collect()
                gc.freeze()
            now = time.process_time()
            self.aside += now - began
            self._passed[self._stops.pop(0)] = (self._state.done, now - self.aside, self._repairing, beside)
        return self._exchange(calls)

    def _repaired(self, genes: IntArray) -> IntArray:
        began = time.process_time()
        found = self._repair(genes)
        self._repairing += time.process_time() - began
        return found


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
