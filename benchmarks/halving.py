"""What successive halving saves: searches with it and without it, on a real network.

    python benchmarks/halving.py --data cifar10-images.tar.gz --weights resnet20-cifar10.pth --runs FOLDER
        [--seeds 3] [--evaluations 60] [--factor 4] [--json FILE]

ResNet-20 by `benchmarks/truth/resnet20.toml` with three rungs: batch norm and steps in 4 updates, in 24 more, and everything in 72
more. With every seed one search sends all plans up all rungs and another one halves (the stopping kind); both propose as many
plans, and both measure their leading plans twice more at the last rung. Compared are the worker time, and the accuracy of the best
plan as the mean of its measurements. Everything is kept in FOLDER and continues when the command is repeated.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _report import Row, at_least, at_most, json_argument, report
from _searches import baseline_of, searched

from pqsearch.spec import Spec, load_spec, parse_spec
from pqsearch.study import read_study

SPEC = Path(__file__).resolve().parent / "truth" / "resnet20.toml"
RUNGS = [
    {"kind": "few_shot", "images": 512, "steps": 4, "lr": 0.02, "batch_size": 64},
    {"kind": "few_shot", "images": 512, "steps": 24, "lr": 0.02, "batch_size": 64},
    {"kind": "fine_tune", "steps": 72, "lr": 0.01, "batch_size": 64},
]
#: Worker time of the halving searches, as a share of the others'.
MOST_TIME = 1 / 3


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an image folder or archive")
    parser.add_argument("--weights", type=Path, required=True, help="a trained ResNet-20")
    parser.add_argument("--runs", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--factor", type=float, default=4.0, help="one plan in so many goes on to the next rung")
    options = parser.parse_args()
    common = [
        f'data.root="{options.data}"', f'model.weights="{options.weights}"', "study.retest=0", "study.confirm=4",
        f"study.evaluations={options.evaluations}", 'algorithm.name="genetic"', 'sensitivity.source="gradients"',
    ]  # fmt: skip
    baseline = baseline_of(_spec([*common, f'study.run_dir="{options.runs / "baseline"}"']))
    arms: dict[str, dict[str, Any]] = {"full": {}, "halving": {"halving": {"factor": options.factor}}}
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    for seed in range(options.seeds):
        for arm, sections in arms.items():
            place = options.runs / f"{arm}-{seed}"
            spec = _spec([*common, f"study.seed={seed}", f'study.run_dir="{place}"'], sections)
            state = read_study(searched(spec, baseline))
            best = state.best()
            assert best is not None, "a search of so many plans has a best one"
            found[arm].append((state.worker_seconds, 100 * statistics.fmean(best["repeats"])))
    return report(rows(found["full"], found["halving"]), options.json)


def _spec(overrides: Sequence[str], sections: Mapping[str, Any] | None = None) -> Spec:
    """The spec of the file with the rungs that are compared, and what only makes sense with them."""
    return parse_spec({**load_spec(SPEC, overrides).to_dict(), "rungs": RUNGS, **(sections or {})})


def rows(full: Sequence[tuple[float, float]], halving: Sequence[tuple[float, float]]) -> list[Row]:
    """Worker seconds and accuracies, (seeds, 2) of either arm."""
    result = []
    for name, arm in (("every plan on every rung", full), ("halving", halving)):
        accuracies = [accuracy for _, accuracy in arm]
        single = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
        spread = statistics.stdev(accuracies) if len(arm) > 1 else 0.0
        result.append(Row(f"{name}: worker time, mean of n={len(arm)}", statistics.fmean(s for s, _ in arm), "s"))
        result.append(Row(f"{name}: best plan, sd {spread:.2f} ({single})", statistics.fmean(accuracies), "% accuracy"))
    shares = [mine / theirs for (mine, _), (theirs, _) in zip(halving, full, strict=True)]
    result.append(
        at_most("worker time of halving, by that of every rung", statistics.fmean(shares), "ratio", MOST_TIME)
    )
    lost = statistics.fmean(a for _, a in halving) - statistics.fmean(a for _, a in full)
    spread = statistics.stdev(a for _, a in full) if len(full) > 1 else 0.0
    result.append(at_least("what halving gains, at most a standard deviation below nothing", lost, "points", -spread))
    return result


if __name__ == "__main__":
    sys.exit(main())
