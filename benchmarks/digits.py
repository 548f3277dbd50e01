"""Does searching pay? The quickstart's spec with several seeds, each a whole run, searched beside uniform.

    python benchmarks/digits.py [--seeds 3] [--set algorithm.name=genetic] [--runs FOLDER] [--json FILE]

Runs are kept in FOLDER (a temporary one unless given) and continue when the command is repeated.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from _report import Row, at_least, json_argument, report, spread

import pqsearch
from pqsearch.spec import load_spec

SPEC = Path(__file__).resolve().parent.parent / "examples" / "digits.toml"


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="where runs are kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another value of a spec key")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        found = [
            pqsearch.run(load_spec(SPEC, [f"study.seed={seed}", f'study.run_dir="{folder}/seed-{seed}"', *options.set]))
            for seed in range(options.seeds)
        ]
    return report(rows(found), options.json)


def rows(summaries: list[dict[str, Any]]) -> list[Row]:
    """Mean and spread over seeds of each network's test accuracy and of the differences that matter."""
    seeds = f"n={len(summaries)} seeds"
    found = []
    for role in ("baseline", "baseline_finetuned", "searched", "uniform", "uniform_filled"):
        values = [100 * summary[role]["test_accuracy"] for summary in summaries]
        found.append(
            Row(f"{role}: test accuracy, mean of {seeds}, sd {spread(values):.2f}", statistics.fmean(values), "%")
        )
    for other in ("uniform", "uniform_filled"):
        values = [100 * summary["differences"][f"searched - {other}"]["value"] for summary in summaries]
        name = f"searched - {other}: mean of {seeds}, sd {spread(values):.2f}"
        found.append(at_least(name, statistics.fmean(values), "points", 0.01))
    drops = [summary["differences"]["uniform - baseline"] for summary in summaries]
    errors = statistics.fmean(-drop["value"] / drop["standard_error"] for drop in drops)
    found.append(at_least(f"baseline - uniform in paired standard errors: mean of {seeds}", errors, "errors", 3))
    searches = [summary["evaluations"] for summary in summaries]
    found.append(at_least("plans evaluated, the fewest of a seed", min(searches), "plans", 60))
    return found


if __name__ == "__main__":
    sys.exit(main())
