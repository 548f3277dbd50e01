"""Whether a simulated search takes as long as a real one: 16 workers, evaluations that sleep, the same spec.

    python benchmarks/simulator.py [--json FILE]

The real search goes through workers, study, journal and Tune; the simulated one is given the seconds that its evaluations took.
What is compared is the time from when all workers had begun until the first had nothing more, per evaluation done in it, and the
share of it that workers were busy.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _report import Row, at_most, json_argument, report
from _sleepers import sleeping_spec, through_the_service

from pqsearch import environment
from pqsearch.journal.memory import MemoryJournal
from pqsearch.open_study import make_study
from pqsearch.prepare import prepare
from pqsearch.simulated_landscapes import MadeUp
from pqsearch.simulator import Clock, Pace, simulate

WORKERS, EVALUATIONS, SECONDS, SPREAD = 16, 480, 1.0, 0.5


def main() -> int:
    options = json_argument(__doc__ or "").parse_args()
    environment.set_defaults()
    with tempfile.TemporaryDirectory() as folder:
        times = through_the_service(Path(folder), WORKERS, EVALUATIONS, SECONDS, SPREAD)
        spec = sleeping_spec(Path(folder), WORKERS, EVALUATIONS, SECONDS, SPREAD)
        clock = Clock()
        study = make_study(spec, prepare(spec).info, MemoryJournal(clock), clock)
        took = [until - since for mine in times for since, until in mine]
        found = simulate(study, clock, WORKERS, Pace([took]), MadeUp(study.space.levels, 0), 0)
    # Workers of the real search begin one after the other, as they have started: that is no affair of the simulation.
    begin, end = max(mine[0][0] for mine in times), min(mine[-1][1] for mine in times)
    inside = sum(max(0.0, min(until, end) - max(since, begin)) for mine in times for since, until in mine)
    mean = sum(took) / len(took)
    real = (end - begin) / (inside / mean)
    simulated = found.wall / found.evaluations
    rows = [
        Row("a real evaluation's share of the time", 1000 * real, "ms"),
        Row("a simulated one's", 1000 * simulated, "ms"),
        at_most("they differ by", 100 * abs(simulated / real - 1), "%", 10),
        Row("real workers", 100 * inside / (WORKERS * (end - begin)), "% busy"),
        Row("simulated workers", 100 * found.busy, "% busy"),
    ]
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
