"""The landscape's verdict, tried on the network itself: whole searches, and their winners on a larger slice.

    python benchmarks/confirm.py --data cifar10-images.tar.gz --weights resnet20-cifar10.pth --runs FOLDER
        [--algorithms surrogate_exchange genetic peer:CmaEs] [--seeds 3] [--evaluations 100] [--confirm 4] [--slice 5000]
        [--json FILE]

Every algorithm searches with every seed, all from one baseline, by `benchmarks/truth/resnet20.toml` with the prior that every
search begins with, and confirms its leading plans as every study does. Then the best plan of each search is measured on a
slice of training images several times as large, with three seeds of its short fine-tune. Everything is kept in FOLDER and
continues when the command is repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from _report import Row, json_argument, report, spread
from _searches import baseline_of, searched

from pqsearch.plan import Plan
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, load_spec
from pqsearch.study import read_study

SPEC = Path(__file__).resolve().parent / "truth" / "resnet20.toml"
#: Measurements of each winner beside its first one.
REPEATS = 2
#: An algorithm and a seed.
Search = tuple[str, int]


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an image folder or archive")
    parser.add_argument("--weights", type=Path, required=True, help="a trained ResNet-20")
    parser.add_argument("--runs", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--algorithms", nargs="+", default=["surrogate_exchange", "genetic", "peer:CmaEs"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--confirm", type=int, default=4, help="leading plans that a search measures twice more")
    parser.add_argument("--slice", type=int, default=5000, help="images that measure the winners")
    options = parser.parse_args()
    common = [f'data.root="{options.data}"', f'model.weights="{options.weights}"', "study.retest=0"]
    baseline = baseline_of(load_spec(SPEC, [*common, f'study.run_dir="{options.runs / "baseline"}"']))
    searches = {
        (name, seed): _spec(options, common, name, seed) for seed in range(options.seeds) for name in options.algorithms
    }
    winners: dict[Search, Path] = {}
    for search, spec in searches.items():
        searched(spec, baseline)
        winners[search] = RunDirectory(spec.run_dir).plans / "searched-1.json"
    return report(rows(options.algorithms, measured(options, common, baseline, winners)), options.json)


def _spec(options: argparse.Namespace, common: Sequence[str], algorithm: str, seed: int) -> Spec:
    run = options.runs / f"{algorithm.replace(':', '-')}-{seed}"
    return load_spec(
        SPEC,
        [
            *common,
            f"study.seed={seed}",
            f"study.evaluations={options.evaluations}",
            f"study.confirm={options.confirm}",
            f'study.run_dir="{run}"',
            f'algorithm.name="{algorithm}"',
            'sensitivity.source="gradients"',
        ],
    )


def measured(
    options: argparse.Namespace, common: Sequence[str], baseline: RunDirectory, winners: Mapping[Search, Path]
) -> dict[Search, list[float]]:
    """Accuracies on the larger slice of each search's winner, one per measurement; searches that agree share them."""
    run = RunDirectory(options.runs / "winners")
    plans = {search: Plan.from_json(json.loads(path.read_text())) for search, path in winners.items()}
    files = {plan.hash: str(winners[search]) for search, plan in plans.items()}
    spec = load_spec(
        SPEC,
        [
            *common,
            f'study.run_dir="{run.path}"',
            f"study.plans={json.dumps(list(files.values()))}",
            f"study.evaluations={len(files)}",
            f"study.confirm={len(files)}",
            f"study.confirm_repeats={REPEATS}",
            f"data.score_images={options.slice}",
            'algorithm.name="random_search"',
        ],
    )
    searched(spec, baseline)
    state = read_study(run.journal)
    accuracies = {row["plan_hash"]: row["repeats"] for row in state.leading(len(files))}
    return {search: accuracies[plan.hash] for search, plan in plans.items()}


def rows(algorithms: Sequence[str], found: Mapping[Search, Sequence[float]]) -> list[Row]:
    """Mean and spread over seeds of each algorithm, and its seeds one by one."""
    result = []
    for algorithm in algorithms:
        means = [100 * statistics.fmean(values) for (name, _), values in found.items() if name == algorithm]
        single = ", ".join(f"{mean:.2f}" for mean in means)
        name = f"{algorithm}: mean of n={len(means)} seeds, sd {spread(means):.2f} ({single})"
        result.append(Row(name, statistics.fmean(means), "% proxy accuracy"))
    return result


if __name__ == "__main__":
    sys.exit(main())
