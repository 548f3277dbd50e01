"""What successive halving saves: searches with it and without it, on a real network.

    python benchmarks/halving.py --data cifar10-images.tar.gz --weights resnet20-cifar10.pth --runs FOLDER
        [--seeds 3] [--evaluations 60] [--factor 4] [--kind promotion] [--json FILE]

ResNet-20 by `benchmarks/truth/resnet20.toml` with three rungs: batch norm and steps in 4 updates, in 24 more, and everything in 72
more. With every seed one search sends all plans up all rungs and another one halves; both propose as many plans, and both measure
their leading plans twice more, up to the last rung. Compared are the worker time that the plans' first measurements took, which is
what halving saves, and with the re-measurements, which cost both as much; and the accuracy of the best plan as the mean of its
measurements. Judged is the time with each rung at its mean seconds over both: a machine gets slower and faster from one search to
the next. Everything is kept in FOLDER and continues when the command is repeated.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _report import Row, at_least, at_most, json_argument, report, spread
from _searches import baseline_of, searched

from pqsearch.journal.file import read_events
from pqsearch.report.correlation import rung_correlations
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
    parser.add_argument("--kind", choices=("promotion", "stopping"), default="promotion", help="of halving")
    options = parser.parse_args()
    common = [
        f'data.root="{options.data}"', f'model.weights="{options.weights}"', "study.retest=0", "study.confirm=4",
        f"study.evaluations={options.evaluations}", 'algorithm.name="genetic"', 'sensitivity.source="gradients"',
    ]  # fmt: skip
    baseline = baseline_of(_spec([*common, f'study.run_dir="{options.runs / "baseline"}"']))
    arms: dict[str, dict[str, Any]] = {
        "full": {},
        "halving": {"halving": {"factor": options.factor, "kind": options.kind}},
    }
    found: dict[str, list[Arm]] = {arm: [] for arm in arms}
    for seed in range(options.seeds):
        for arm, sections in arms.items():
            place = options.runs / f"{arm}-{seed}"
            spec = _spec([*common, f"study.seed={seed}", f'study.run_dir="{place}"'], sections)
            found[arm].append(arm_of(searched(spec, baseline)))
    return report(rows(found["full"], found["halving"]), options.json)


@dataclass(frozen=True)
class Arm:
    """One search: seconds of each rung of each plan, those of re-measurements apart, the accuracy of its best plan in percent, and
    Kendall's tau of the accuracies at each rung with those at the next.
    """

    first: Mapping[int, Sequence[float]]
    again: Mapping[int, Sequence[float]]
    accuracy: float
    taus: Sequence[float] = ()

    @property
    def searching(self) -> float:
        """Worker seconds without re-measurements."""
        return sum(map(sum, self.first.values()))

    @property
    def total(self) -> float:
        return self.searching + sum(map(sum, self.again.values()))


def arm_of(journal: Path) -> Arm:
    """What a finished search has spent on what."""
    study = read_study(journal)
    best, rungs = study.best(), rung_correlations(study.candidates(), study.settings["rungs"])
    assert best is not None, "a search of so many plans has a best one"
    spent: tuple[dict[int, list[float]], dict[int, list[float]]] = ({}, {})
    for event in read_events(journal):
        if event["type"] == "reported":
            spent[event["repeat"] > 0].setdefault(event["rung"], []).append(sum(event["seconds"].values()))
    return Arm(*spent, 100 * statistics.fmean(best["repeats"]), [found["tau"] for found in rungs])


def _spec(overrides: Sequence[str], sections: Mapping[str, Any] | None = None) -> Spec:
    """The spec of the file with the rungs that are compared, and what only makes sense with them."""
    return parse_spec({**load_spec(SPEC, overrides).to_dict(), "rungs": RUNGS, **(sections or {})})


def rows(full: Sequence[Arm], halving: Sequence[Arm]) -> list[Row]:
    """Worker time and accuracy of both arms, seed by seed alike, and the bars."""
    result = []
    for name, arms in (("every plan on every rung", full), ("halving", halving)):
        accuracies = [arm.accuracy for arm in arms]
        single = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
        result += [
            Row(f"{name}: worker time, mean of n={len(arms)}", statistics.fmean(arm.searching for arm in arms), "s"),
            Row(f"{name}: with re-measurements", statistics.fmean(arm.total for arm in arms), "s"),
            Row(
                f"{name}: plans on each rung",
                statistics.fmean(len(arm.first[max(arm.first)]) for arm in arms),
                "on the last",
            ),
            Row(
                f"{name}: best plan, sd {spread(accuracies):.2f} ({single})",
                statistics.fmean(accuracies),
                "% accuracy",
            ),
        ]
    pairs = list(zip(halving, full, strict=True))
    share = statistics.fmean(mine.searching / theirs.searching for mine, theirs in pairs)
    even = statistics.fmean(_at_mean_seconds(mine, theirs) for mine, theirs in pairs)
    whole = statistics.fmean(mine.total / theirs.total for mine, theirs in pairs)
    lost = statistics.fmean(arm.accuracy for arm in halving) - statistics.fmean(arm.accuracy for arm in full)
    noise = spread([arm.accuracy for arm in full])
    taus = [
        Row(f"rank correlation of rung {rung} with the next, every plan on every rung", statistics.fmean(values), "tau")
        for rung, values in enumerate(zip(*(arm.taus for arm in full), strict=True))
    ]
    return [
        *result,
        *taus,
        Row("worker time of halving, by that of every rung", share, "ratio"),
        at_most("the same, each rung at its mean seconds over both", even, "ratio", MOST_TIME),
        Row("the same, with re-measurements of leading plans", whole, "ratio"),
        at_least("what halving gains, at most a standard deviation below nothing", lost, "points", -noise),
    ]  # fmt: skip


def _at_mean_seconds(mine: Arm, theirs: Arm) -> float:
    """The ratio that would come of a machine on which a rung always takes as long."""
    mean = {rung: statistics.fmean([*theirs.first[rung], *mine.first.get(rung, ())]) for rung in theirs.first}
    spent = [sum(len(seconds) * mean[rung] for rung, seconds in arm.first.items()) for arm in (mine, theirs)]
    return spent[0] / spent[1]


if __name__ == "__main__":
    sys.exit(main())
