"""What successive halving saves: searches with it and without it, on a real network.

    python benchmarks/halving.py --data cifar10-images.tar.gz --weights resnet20-cifar10.pth --runs FOLDER
        [--seeds 3] [--evaluations 60] [--factor 5] [--json FILE]

ResNet-20 by `benchmarks/truth/resnet20.toml`: batch norm and steps in 28 updates, and everything in 72 more. With every seed one
search trains all plans to the end, measured after 4 and 28 updates too, which shows what these say of the end; another one halves
where they say enough: once, after 28 (the stopping kind). Both propose as many plans, and both measure their leading plans twice
more, to the end. Compared are the worker time that the plans' first measurements took, which is what halving saves, and with the
re-measurements, which cost both as much; and the accuracy of the best plan as the mean of its measurements. Everything is kept in
FOLDER and continues when the command is repeated.
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
FEW = {"kind": "few_shot", "images": 512, "lr": 0.02, "batch_size": 64}
MORE = {"kind": "fine_tune", "steps": 72, "lr": 0.01, "batch_size": 64}
#: The same updates in both; the stages that are compared, by rung.
RUNGS = [{**FEW, "steps": 4}, {**FEW, "steps": 24}, MORE]
STAGES = (0, 0, 1)
HALVED = [{**FEW, "steps": 28}, MORE]
HALVED_STAGES = (0, 1)
#: Worker time of the halving searches, as a share of the others'.
MOST_TIME = 1 / 3


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an image folder or archive")
    parser.add_argument("--weights", type=Path, required=True, help="a trained ResNet-20")
    parser.add_argument("--runs", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--factor", type=float, default=5.0, help="one plan in so many goes on")
    options = parser.parse_args()
    common = [
        f'data.root="{options.data}"', f'model.weights="{options.weights}"', "study.retest=0", "study.confirm=4",
        f"study.evaluations={options.evaluations}", 'algorithm.name="genetic"', 'sensitivity.source="gradients"',
    ]  # fmt: skip
    baseline = baseline_of(_spec([*common, f'study.run_dir="{options.runs / "baseline"}"']))
    full: list[Arm] = []
    halving: list[Arm] = []
    for seed in range(options.seeds):
        for arm, rungs, sections, stages, found in (
            ("full", RUNGS, {}, STAGES, full),
            ("halving", HALVED, {"halving": {"factor": options.factor}}, HALVED_STAGES, halving),
        ):
            place = options.runs / f"{arm}-{seed}"
            spec = _spec([*common, f"study.seed={seed}", f'study.run_dir="{place}"'], {"rungs": rungs, **sections})
            found.append(arm_of(searched(spec, baseline), stages))
    return report(rows(full, halving), options.json)


#: Seconds by stage, then by plan and repeat.
Stages = dict[int, dict[tuple[int, int], float]]


@dataclass(frozen=True)
class Arm:
    """One search: seconds of each plan in each stage, those of re-measurements apart, the accuracy of its best plan in percent, and
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


def arm_of(journal: Path, stages: Sequence[int]) -> Arm:
    """What a finished search has spent on what; `stages` are those that its rungs belong to."""
    study = read_study(journal)
    best, rungs = study.best(), rung_correlations(study.candidates(), study.settings["rungs"])
    assert best is not None, "a search of so many plans has a best one"
    spent: tuple[Stages, Stages] = ({}, {})
    for event in read_events(journal):
        if event["type"] == "reported":
            plans = spent[event["repeat"] > 0].setdefault(stages[event["rung"]], {})
            plan = event["id"], event["repeat"]
            plans[plan] = plans.get(plan, 0.0) + sum(event["seconds"].values())
    first, again = ({stage: list(plans.values()) for stage, plans in found.items()} for found in spent)
    return Arm(first, again, 100 * statistics.fmean(best["repeats"]), [found["tau"] for found in rungs])


def _spec(overrides: Sequence[str], sections: Mapping[str, Any] | None = None) -> Spec:
    """The spec of the file with the sections that are compared."""
    return parse_spec({**load_spec(SPEC, overrides).to_dict(), "rungs": RUNGS, **(sections or {})})


def rows(full: Sequence[Arm], halving: Sequence[Arm]) -> list[Row]:
    """Worker time and accuracy of both arms, seed by seed alike, and the bars."""
    result = []
    for name, arms in (("every plan to the end", full), ("halving", halving)):
        accuracies = [arm.accuracy for arm in arms]
        single = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
        result += [
            Row(f"{name}: worker time, mean of n={len(arms)}", statistics.fmean(arm.searching for arm in arms), "s"),
            Row(f"{name}: with re-measurements", statistics.fmean(arm.total for arm in arms), "s"),
            Row(
                f"{name}: plans trained",
                statistics.fmean(len(arm.first[max(arm.first)]) for arm in arms),
                "to the end",
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
        Row(f"rank correlation of rung {rung} with the next, every plan to the end", statistics.fmean(values), "tau")
        for rung, values in enumerate(zip(*(arm.taus for arm in full), strict=True))
    ]
    return [
        *result,
        *taus,
        at_most("worker time of halving, by that of every plan to the end", share, "ratio", MOST_TIME),
        Row("the same, each stage at its mean seconds over both", even, "ratio"),
        Row("the same, with re-measurements of leading plans", whole, "ratio"),
        at_least("what halving gains, at most a standard deviation below nothing", lost, "points", -noise),
    ]  # fmt: skip


def _at_mean_seconds(mine: Arm, theirs: Arm) -> float:
    """The ratio that would come of a machine on which a stage always takes as long."""
    mean = {stage: statistics.fmean([*theirs.first[stage], *mine.first.get(stage, ())]) for stage in theirs.first}
    spent = [sum(len(seconds) * mean[stage] for stage, seconds in arm.first.items()) for arm in (mine, theirs)]
    return spent[0] / spent[1]


if __name__ == "__main__":
    sys.exit(main())
