"""Search algorithms, ours and those of other libraries, on one landscape with the same evaluations.

    python benchmarks/algorithms.py --landscape FILE.py [--only NAMES] [--seeds 20] [--evaluations 100 300 1000]
        [--handling repair penalty] [--starts] [--confirm 4] [--seconds FILE] [--workers 2] [--keep FILE] [--json FILE]

The table has medians and quartiles over seeds of the true value of the plan that a contender would hand over (the one
with the best noisy value), smaller being better. A peer whose settings depend on the evaluations gets a run for each number
of them; the others never know the number, so one run serves for all. Peers need `pip install .[peers]`. With `--keep` finished
runs are kept, and not run again when the command is repeated.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # read when numpy and torch load: processes share the cores

import numpy as np  # noqa: E402
from _report import write_json  # noqa: E402

from arena.contest import Handling, Score, Truth, run  # noqa: E402
from arena.names import MOST_EVALUATIONS, MOST_SEEDS, PEERS, TOLD_EVALUATIONS, contenders  # noqa: E402
from pqsearch.problem import Problem  # noqa: E402
from pqsearch.rooms import nearest  # noqa: E402


@dataclass(frozen=True)
class Job:
    """One run of one contender. `starts`: it may begin with the plans that ours always begin with."""

    landscape: str
    contender: str
    handling: Handling
    starts: bool
    evaluations: int
    seed: int
    confirm: int = 0

    @property
    def arm(self) -> str:
        if self.contender not in PEERS:
            return "ours"
        return f"{self.handling}, starts" if self.starts else self.handling


@dataclass(frozen=True)
class Curve:
    """What came of a job: true value in hand after each evaluation, None while nothing is."""

    job: Job
    values: list[float | None] = field(repr=False)
    used: int
    asked: int
    over: int
    seconds: float

    def after(self, evaluations: int) -> float:
        value = self.values[evaluations - 1]
        return np.inf if value is None else value


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    wanted = jobs(options)
    kept = {curve.job: curve for curve in read(options.keep)} if options.keep else {}
    missing = [job for job in wanted if job not in kept]
    print(f"{len(wanted)} runs, {len(wanted) - len(missing)} of them kept", file=sys.stderr)
    with _keeping(options.keep) as keep:
        for number, curve in enumerate(_run_all(missing, options), start=1):
            kept[curve.job] = curve
            keep(curve)
            job = curve.job
            print(
                f"{number}/{len(missing)} {job.contender} ({job.arm}) {job.evaluations} evaluations, seed {job.seed}: "
                f"{curve.seconds:.1f} s",
                file=sys.stderr,
            )
    curves = [kept[job] for job in wanted]
    rows = table(curves, options.evaluations)
    print(text(rows))
    if options.json:
        write_json(options.json, {"rows": rows, "curves": [asdict(curve) for curve in curves]})
    return 0


def landscape(name: str) -> tuple[Problem, Score, Truth]:
    """What the Python file `name` gives from its function `landscape`: a problem, noisy values, and true ones."""
    found: tuple[Problem, Score, Truth] = runpy.run_path(name)["landscape"]()
    return found


def jobs(options: argparse.Namespace) -> list[Job]:
    """Every run wanted, seed by seed, so that all contenders have had as many when it is cut off."""
    found = []
    for seed in range(options.seeds):
        for name in options.only or contenders(_seconds(options.seconds)):
            if seed >= MOST_SEEDS.get(name, options.seeds):
                continue
            for evaluations in _lengths(name, options.evaluations):
                if name not in PEERS:
                    found.append(Job(options.landscape, name, "repair", False, evaluations, seed, options.confirm))
                    continue
                arms = [(handling, False) for handling in options.handling]
                if options.starts and "repair" in options.handling:
                    arms.append(("repair", True))
                found += [Job(options.landscape, name, *arm, evaluations, seed, options.confirm) for arm in arms]
    return found


def _lengths(contender: str, evaluations: Sequence[int]) -> list[int]:
    """How long the runs of a contender are: the longest serves for all numbers that it is not told."""
    allowed = [number for number in evaluations if number <= MOST_EVALUATIONS.get(contender, number)]
    return allowed if contender in TOLD_EVALUATIONS else [max(allowed)] if allowed else []


def run_job(job: Job, seconds: Sequence[float] = ()) -> Curve:
    contender = contenders(seconds)[job.contender]
    began = time.process_time()
    trace = run(contender, *_landscape(job.landscape), job.evaluations, job.seed, job.handling, job.starts, job.confirm)
    values = [value if np.isfinite(value) else None for value in trace.values.tolist()]
    return Curve(job, values, trace.used, trace.asked, trace.over, time.process_time() - began)


def table(curves: Iterable[Curve], evaluations: Sequence[int]) -> list[dict[str, Any]]:
    """Median and quartiles over seeds by contender, arm and number of evaluations, best first."""
    found: dict[tuple[int, str, str], list[float]] = {}
    for curve in curves:
        told = curve.job.contender in TOLD_EVALUATIONS
        for number in [curve.job.evaluations] if told else [n for n in evaluations if n <= curve.job.evaluations]:
            found.setdefault((number, curve.job.contender, curve.job.arm), []).append(curve.after(number))
    rows = []
    for (number, contender, arm), values in found.items():
        # Between infinite values there is nothing to interpolate.
        method: Any = "linear" if np.isfinite(values).all() else "inverted_cdf"
        low, median, high = (float(np.quantile(values, q, method=method)) for q in (0.25, 0.5, 0.75))
        rows.append(
            {
                "evaluations": number,
                "contender": contender,
                "arm": arm,
                "seeds": len(values),
                "median": median if np.isfinite(median) else None,
                "low": low if np.isfinite(low) else None,
                "high": high if np.isfinite(high) else None,
            }
        )
    return sorted(rows, key=lambda row: (row["evaluations"], row["median"] is None, row["median"]))


def text(rows: Sequence[dict[str, Any]]) -> str:
    """The table for people; "none" where no plan held the budgets."""

    def shown(value: float | None) -> str:
        return "none" if value is None else f"{value:.4f}"

    width = max((len(row["contender"]) for row in rows), default=0)
    return "\n".join(
        f"{row['evaluations']:>6}  {row['contender']:<{width}}  {row['arm']:<16}  {shown(row['median']):>8}"
        f"  [{shown(row['low'])}, {shown(row['high'])}]  n={row['seeds']}"
        for row in rows
    )


def read(path: Path) -> list[Curve]:
    """Runs that were kept; a line that was cut off in the middle is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.append(Curve(Job(**values.pop("job")), **values))
    return found


@contextmanager
def _keeping(path: Path | None) -> Iterator[Callable[[Curve], None]]:
    """Appends curves to a file, a line each, at once; to nothing without a file."""
    if path is None:
        yield lambda curve: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        kept = file.read()
        if kept and not kept.endswith("\n"):
            file.write("\n")

        def keep(curve: Curve) -> None:
            file.write(json.dumps(asdict(curve)) + "\n")
            file.flush()

        yield keep


def _run_all(missing: Sequence[Job], options: argparse.Namespace) -> Iterator[Curve]:
    """Curves as they are finished."""
    seconds = _seconds(options.seconds)
    if options.workers == 1:
        yield from (run_job(job, seconds) for job in missing)
        return
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(run_job, job, seconds) for job in missing]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@cache
def _landscape(name: str) -> tuple[Problem, Score, Truth]:
    return landscape(name)


def _seconds(path: Path | None) -> list[float]:
    """Seconds of the first evaluation of each plan in a file that `benchmarks/truth/pack.py` wrote."""
    return [seconds[0] for seconds in json.loads(gzip.decompress(path.read_bytes()))["seconds"]] if path else []


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landscape", required=True, metavar="FILE.py", help="its landscape() gives what is searched")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders; all unless given")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--handling", nargs="+", choices=("repair", "penalty"), default=["repair", "penalty"])
    parser.add_argument(
        "--starts", action="store_true", help="an arm more: peers with repair that begin with the plans ours begin with"
    )
    parser.add_argument(
        "--confirm", type=int, default=0, metavar="N",
        help="what is handed over is the best of the N leading plans by the mean of three measurements, as in a study",
    )  # fmt: skip
    parser.add_argument(
        "--seconds",
        type=Path,
        metavar="FILE",
        help="measured evaluations (benchmarks/truth/*.json.gz): also ours with 16 in flight, each taking one of their times",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where finished runs are kept, as JSON lines")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table and all curves as JSON")
    options = parser.parse_args(arguments)
    known = contenders(_seconds(options.seconds))
    for name in options.only or ():
        if name not in known:
            parser.error(f"unknown contender {name!r}{nearest(name, known)}, choose from {', '.join(known)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
