"""How well evaluations under one budget foretell plans under another: what `pqsearch resolve` rests on.

    python benchmarks/forecast.py [--json FILE]

Fitted to so many of the plans of one set of `benchmarks/truth`, asked about all plans of the other one. n is the number of
draws of the plans that it is fitted to.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _report import Row, json_argument, report
from landscape import read
from scipy.stats import kendalltau

from pqsearch.forecast import Forecast
from pqsearch.problem import FloatArray, IntArray
from search_spaces.space import Space

TRUTH = Path(__file__).resolve().parent / "truth"
IMAGES = 1000
FITTED = (60, 200)
DRAWS = 5


def main() -> int:
    options = json_argument(__doc__ or "").parse_args()
    loose, other = (_measured(TRUTH / f"{name}.json.gz") for name in ("loose", "other"))
    rows = [*_rows("loose to other", loose, other), *_rows("other to loose", other, loose)]
    return report(rows, options.json)


def _measured(path: Path) -> tuple[Space, IntArray, FloatArray]:
    """The space of a set, its plans (plans, knobs) and the first accuracy measured of each (plans,)."""
    measured = read(path)
    data = json.loads(gzip.decompress(path.read_bytes()))
    return measured.space, measured.genes, np.array([accuracies[0] for accuracies in data["accuracy"]])


def _rows(
    words: str, source: tuple[Space, IntArray, FloatArray], asked: tuple[Space, IntArray, FloatArray]
) -> Iterator[Row]:
    space, genes, accuracies = source
    _, others, truth = asked
    better = truth > np.median(truth)
    for fitted in FITTED:
        found = []
        for draw in range(DRAWS):
            chosen = np.random.default_rng(draw).permutation(len(genes))[:fitted]
            forecast = Forecast(space.levels, space.prior, genes[chosen], accuracies[chosen], IMAGES)
            expected = forecast.expect(others)
            mean, low, high = (
                np.array([getattr(row, name) for row in expected]) for name in ("accuracy", "low", "high")
            )
            found.append(
                (
                    kendalltau(mean, truth).statistic,
                    100 * float((mean - truth)[better].mean()),
                    100 * float(((truth >= low) & (truth <= high))[better].mean()),
                )
            )
        means, deviations = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
        for name, unit, mean, deviation in zip(
            ("Kendall tau", "expected minus measured, better half", "measured inside its interval, better half"),
            ("", "points", "% of plans"),
            means,
            deviations,
            strict=True,
        ):
            yield Row(f"{words}, {fitted} plans, {name} (n={DRAWS}, sd {deviation:.2g})", float(mean), unit)


if __name__ == "__main__":
    sys.exit(main())
