"""Seconds of one candidate by phase, and a worker's memory.

    python benchmarks/evaluate.py [--data-root ARCHIVE --weights resnet20.pth] [--json FILE]

Digits always; CIFAR-10 ResNet-20 when its images and weights are given. One process with one torch thread evaluates
the uniform plan of each example spec `--candidates` times: the first pays for loading, the others must not.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pqsearch import environment

environment.set_defaults()

import torch  # noqa: E402  the environment must be set first
from _report import Row, at_most, json_argument, report  # noqa: E402

from pqsearch.open_study import seeds  # noqa: E402
from pqsearch.plan import Item  # noqa: E402
from pqsearch.prepare import load_data, prepare  # noqa: E402
from pqsearch.spec import Spec, load_spec  # noqa: E402
from trainers.baseline import initial_model, plain  # noqa: E402
from trainers.device import set_threads  # noqa: E402
from trainers.proxy import evaluate, make_context  # noqa: E402

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MOST_BYTES = 1.5e9
#: Seconds of a candidate that no phase names: a rung's bookkeeping, or of large networks as much as moving their weights about takes.
MOST_ELSEWHERE, MOST_SHARE_ELSEWHERE = 0.05, 0.01
PHASES = ("surgery", "calibrate", "train", "save", "score")


def measure(
    name: str,
    spec: Spec,
    candidates: int,
    *,
    threads: int = 1,
    most_bytes: float = MOST_BYTES,
    most_surgery: float | None = None,
) -> list[Row]:
    """Load time, the phases of the later candidates (medians), and the resident size afterwards."""
    set_threads(threads)
    plan = (space := prepare(spec).space).decode(seeds(space)[-1].genes)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = initial_model(spec, load_data(spec)[0])
        torch.save(plain(model), scratch / "baseline.pth")
        began = time.perf_counter()
        dataset, splits = load_data(spec)
        context = make_context(spec, dataset, splits, scratch / "baseline.pth", scratch, torch.device("cpu"))
        load = time.perf_counter() - began
        walls, phases = [], []
        for candidate in range(candidates):
            began, start, seconds = time.perf_counter(), None, dict.fromkeys(PHASES, 0.0)
            for rung in range(len(spec.rungs)):
                last = rung == len(spec.rungs) - 1
                result = evaluate(context, Item(candidate, "candidate", plan, rung, 0, start, last))
                start = result.weights
                for phase, value in result.seconds.items():
                    seconds[phase] += value
            walls.append(time.perf_counter() - began)
            phases.append(seconds)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = [Row(f"{name}: load, once a worker", load, "s")]
    for phase in PHASES:
        what, value = f"{name}: {phase}", statistics.median(row[phase] for row in phases[1:])
        bar = most_surgery if phase == "surgery" else None
        rows.append(Row(what, value, "s") if bar is None else at_most(what, value, "s", bar))
    unaccounted = statistics.median(wall - sum(row.values()) for wall, row in zip(walls[1:], phases[1:], strict=True))
    whole = statistics.median(walls[1:])
    rows.append(Row(f"{name}: candidate after the first", whole, "s"))
    elsewhere = max(MOST_ELSEWHERE, MOST_SHARE_ELSEWHERE * whole)
    rows.append(at_most(f"{name}: of that in no phase (loading would be here)", unaccounted, "s", elsewhere))
    rows.append(at_most(f"{name}: worker's largest resident size", resident, "bytes", most_bytes))
    return rows


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--data-root", help="archive or folder of CIFAR-10 images")
    parser.add_argument("--weights", help="state dict of ResNet-20")
    parser.add_argument("--candidates", type=int, default=4)
    options = parser.parse_args()
    rows = measure("digits", load_spec(EXAMPLES / "digits.toml"), options.candidates)
    if options.data_root and options.weights:
        overrides = [f"data.root={options.data_root}", f"model.weights={options.weights}"]
        rows += measure("resnet20", load_spec(EXAMPLES / "cifar10_resnet20.toml", overrides), options.candidates)
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
