"""What the arena's runs come to: who reaches what with how few evaluations, and whether ours keep up with their namesakes.

    python benchmarks/arena_bars.py KEPT.jsonl [--evaluations 100 300 1000] [--seeds FIRST LAST] [--json FILE]

KEPT.jsonl is what `benchmarks/algorithms.py --keep` leaves. Values are medians over seeds of the true log loss of the plan in hand
(smaller is better); where the wanted seeds are not all there the row says how many are.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from _report import Row, at_most, json_argument, report
from algorithms import Curve, read

from arena.names import PEERS, TOLD_EVALUATIONS
from pqsearch.problem import FloatArray

FLAGSHIP = "surrogate_exchange"
NAMESAKES = {
    "genetic": ("mealpy_ga", "pymoo_ga"),
    "particle_swarm": ("mealpy_pso",),
    "bee_colony": ("mealpy_abc",),
    "ant_colony": ("mealpy_acor",),
    "nsga2": ("pymoo_nsga2", "optuna_nsga2"),
    "cma_es": ("optuna_cmaes",),
}
BUDGETS = (100, 300, 1000)
#: The peers' evaluations that the flagship is to match, and the share of them that it may take; where they have our starts.
MATCHED = 500
SHARE, SHARE_WITH_STARTS = 1 / 3, 1 / 2
#: Propose their lists and no more: random search begins with the same plans.
LISTS = ("sensitivity_ilp", "uniform_plans")

#: Contender and arm.
Entry = tuple[str, str]


class Medians:
    """Medians over seeds of the value in hand after each evaluation."""

    def __init__(self, curves: Iterable[Curve]) -> None:
        self._runs: dict[Entry, list[Curve]] = defaultdict(list)
        for curve in curves:
            self._runs[curve.job.contender, curve.job.arm].append(curve)

    def entries(self) -> list[Entry]:
        return list(self._runs)

    def curve(self, entry: Entry, evaluations: int) -> FloatArray:
        """Medians (evaluations,) of runs that went so far: the longest, or those that were told this number."""
        runs = self.runs(entry, evaluations)
        values = [[np.inf if value is None else value for value in run.values[:evaluations]] for run in runs]
        return np.median(np.array(values), axis=0) if values else np.full(evaluations, np.inf)

    def at(self, entry: Entry, evaluations: int) -> float:
        return float(self.curve(entry, evaluations)[-1])

    def runs(self, entry: Entry, evaluations: int) -> list[Curve]:
        told = entry[0] in TOLD_EVALUATIONS
        return [
            run
            for run in self._runs[entry]
            if (run.job.evaluations == evaluations if told else run.job.evaluations >= evaluations)
        ]


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("kept", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 10**9), metavar=("FIRST", "LAST"))
    parser.add_argument(
        "--evaluations", type=int, nargs="+", default=BUDGETS, help="where ours are compared with others"
    )
    options = parser.parse_args()
    first, last = options.seeds
    medians = Medians(curve for curve in read(options.kept) if first <= curve.job.seed <= last)
    budgets = options.evaluations
    rows = [*flagship(medians, budgets), *namesakes(medians, budgets), *against_random(medians, budgets)]
    return report(rows, options.json)


def flagship(medians: Medians, budgets: Sequence[int] = BUDGETS) -> Iterator[Row]:
    """With how many evaluations the default is as good as the best peer with `MATCHED`."""
    mine = medians.curve((FLAGSHIP, "ours"), max(budgets))
    for words, share, starts in (("", SHARE, False), (" with our starts", SHARE_WITH_STARTS, True)):
        best = best_peer(medians, MATCHED, starts)
        if best is None:
            continue
        there = np.flatnonzero(mine <= medians.at(best, MATCHED))
        needed = float(there[0] + 1) if len(there) else np.inf
        name = f"{FLAGSHIP}: as good as the best peer{words}, {' '.join(best)}, after {MATCHED}"
        yield at_most(f"{name} ({_seeds(medians, best, MATCHED)})", needed, "evaluations", MATCHED * share)


def best_peer(medians: Medians, evaluations: int, starts: bool) -> Entry | None:
    """The peer, in the best of its arms, with the smallest median."""
    found = [entry for entry in medians.entries() if entry[0] in PEERS and entry[1].endswith("starts") == starts]
    found = [entry for entry in found if medians.runs(entry, evaluations)]
    return min(found, key=lambda entry: medians.at(entry, evaluations), default=None)


def namesakes(medians: Medians, budgets: Sequence[int] = BUDGETS) -> Iterator[Row]:
    """Ours less the best arm of the peer of the same name, by evaluations."""
    for name, peers in NAMESAKES.items():
        for peer in peers:
            for starts in (False, True):
                arms = [
                    entry for entry in medians.entries() if entry[0] == peer and entry[1].endswith("starts") == starts
                ]
                for evaluations in budgets:
                    theirs = [medians.at(arm, evaluations) for arm in arms if medians.runs(arm, evaluations)]
                    if theirs:
                        words = f"{name} - {peer}{' with our starts' if starts else ''}, {evaluations} evaluations"
                        seeds = _seeds(medians, arms[0], evaluations)
                        difference = medians.at((name, "ours"), evaluations) - min(theirs)
                        yield at_most(f"{words} ({seeds})", difference, "log loss", 0.0)


def against_random(medians: Medians, budgets: Sequence[int] = BUDGETS) -> Iterator[Row]:
    """Ours less random search, which begins with the same plans."""
    for name, arm in sorted(medians.entries()):
        if arm == "ours" and name not in (*LISTS, "random_search"):
            for evaluations in budgets:
                difference = medians.at((name, arm), evaluations) - medians.at(("random_search", arm), evaluations)
                seeds = _seeds(medians, (name, arm), evaluations)
                yield at_most(
                    f"{name} - random_search, {evaluations} evaluations ({seeds})", difference, "log loss", 0.0
                )


def _seeds(medians: Medians, entry: Entry, evaluations: int) -> str:
    return f"n={len(medians.runs(entry, evaluations))}"


if __name__ == "__main__":
    sys.exit(main())
