"""A landscape fitted to real evaluations: what `benchmarks/algorithms.py --landscape benchmarks/landscape.py` searches.

    python benchmarks/landscape.py [FILE.json.gz...] [--measure accuracy] [--on FILE.json.gz] [--json FILE]

says how well it is fitted: on plans left out, and with `--on` on those of another file, which it has not seen.

The value of a plan is the logarithm of its loss after a short fine-tune. Its mean is what three models of different kinds say in
the mean: a network, boosted trees and a support vector machine (scikit-learn), none of which is the Gaussian process that
an algorithm of ours learns with. The noise is that of plans measured twice.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any, Literal

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402
from _report import Row, json_argument, report  # noqa: E402
from scipy.stats import kendalltau  # noqa: E402
from sklearn.ensemble import GradientBoostingRegressor  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import KFold  # noqa: E402
from sklearn.neural_network import MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVR  # noqa: E402

from arena.contest import Score, Truth  # noqa: E402
from pqsearch.plan import ModelInfo  # noqa: E402
from pqsearch.problem import FloatArray, IntArray, Problem  # noqa: E402
from pqsearch.space_of import space_of  # noqa: E402
from pqsearch.spec import Spec, parse_spec  # noqa: E402
from search_spaces.space import Space  # noqa: E402

FILE = Path(__file__).resolve().parent / "truth" / "loose.json.gz"
FOLDS = 5
#: What of an evaluation a landscape is about.
Measure = Literal["loss", "accuracy"]
#: The noise is measured for each of so many parts of the plans measured twice, from good to bad.
PARTS = 4
#: From here on, of 0.9 that guessing gets wrong, a network has died: it gives every image the same answer. Its loss is within
#: the range of others, so that by loss this is part of the noise; by accuracy it is far from everything and told apart.
DEAD: dict[Measure, float] = {"loss": np.inf, "accuracy": 0.85}


@dataclass(frozen=True)
class Measured:
    """Plans (plans, knobs), the value of the first measurement of each (plans,), and pairs (plans, 2) of those measured twice.

    Without the measurements in which a network died: `dead` has the genes of those plans, `died` what such a one is given.
    """

    space: Space
    genes: IntArray
    values: FloatArray
    pairs: FloatArray
    dead: IntArray
    died: float

    def joined(self, other: Measured) -> Measured:
        """The evaluations of both, of one space; the prior is this one's."""
        return Measured(
            self.space,
            np.concatenate([self.genes, other.genes]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.pairs, other.pairs]),
            np.concatenate([self.dead, other.dead]),
            min(self.died, other.died),
        )

    def noise(self, values: FloatArray) -> FloatArray:
        """Standard deviation of one measurement of plans worth `values` (plans,): bad plans scatter more than good ones."""
        if len(self.pairs) < PARTS:
            return np.zeros(len(values))
        parts = np.array_split(self.pairs[np.argsort(self.pairs.mean(1), kind="stable")], PARTS)
        middles = [float(part.mean()) for part in parts]
        deviations = [float(np.sqrt(((part[:, 0] - part[:, 1]) ** 2).mean() / 2)) for part in parts]
        return np.interp(values, middles, deviations)

    def deaths(self, fit: Truth) -> Callable[[FloatArray], FloatArray]:
        """How often networks of plans worth (plans,) die, by what `fit` makes of those that did: of good ones hardly any does."""
        values = np.concatenate([fit(self.genes), fit(self.dead)])
        died = np.arange(len(values)) >= len(self.genes)
        parts = np.array_split(np.argsort(values, kind="stable"), PARTS)
        middles, shares = [values[part].mean() for part in parts], [died[part].mean() for part in parts]
        return lambda values: np.interp(values, middles, shares)


class Fit:
    """The mean of three regressions on levels."""

    def __init__(self, levels: IntArray, genes: IntArray, values: FloatArray) -> None:
        self._free = np.flatnonzero(levels > 1)
        self._top = levels[self._free] - 1
        shares = self._shares(genes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what it has by then is judged on plans left out
            self._smooth = [model.fit(_bent(shares), values) for model in _smooth(shares.shape[1])]
        self._trees = _trees().fit(shares, values)

    def __call__(self, genes: IntArray) -> FloatArray:
        shares = self._shares(genes)
        found = [model.predict(_bent(shares)) for model in self._smooth]
        return np.mean([*found, self._trees.predict(shares)], axis=0)

    def _shares(self, genes: IntArray) -> FloatArray:
        return np.atleast_2d(genes)[:, self._free] / self._top


def _bent(shares: FloatArray) -> FloatArray:
    """The first steps up from the cheapest level matter most."""
    return np.hstack([shares, 1 - np.exp(-3 * shares)])


def _smooth(knobs: int) -> list[Any]:
    network = MLPRegressor(hidden_layer_sizes=(64,), alpha=3, max_iter=800, solver="lbfgs", random_state=0)
    vectors = SVR(C=3, epsilon=0.02, gamma=0.3 / knobs)
    return [make_pipeline(StandardScaler(), model) for model in (network, vectors)]


def _trees() -> GradientBoostingRegressor:
    return GradientBoostingRegressor(
        n_estimators=600, learning_rate=0.03, max_depth=3, subsample=0.5, min_samples_leaf=5, random_state=0
    )


def spec_and_info(changes: Mapping[str, Any], path: Path = FILE) -> tuple[Spec, ModelInfo]:
    """A spec with the space and the budgets of the evaluations, and their network; data and model are in name only."""
    data = json.loads(gzip.decompress(path.read_bytes()))
    parts = {key: data["spec"][key] for key in ("space", "budgets", "quantizer") if key in data["spec"]}
    spec = parse_spec({"data": {"name": "digits"}, "model": {"name": "digits_net"}, **parts, **changes})
    return spec, ModelInfo.from_json(data["layers"])


@cache
def read(path: Path = FILE, measure: Measure = "loss") -> Measured:
    """What `benchmarks/truth/pack.py` wrote: values are logarithms of losses, or shares of images answered wrongly."""
    data = json.loads(gzip.decompress(path.read_bytes()))
    spec, info = spec_and_info({"study": {"name": "landscape"}}, path)
    space = space_of(spec, info).with_prior(data.get("prior"))
    genes = np.array([[int(level) for level in row] for row in data["genes"]], dtype=np.int64)
    taken: Callable[[FloatArray], FloatArray] = np.log if measure == "loss" else lambda accuracies: 1 - accuracies
    values = taken(np.array([found[0] for found in data[measure]]))
    # Of plans that were measured again because their first score was the best, that score is a lucky one: the others count.
    pairs = taken(np.array([found[-2:] for found in data[measure] if len(found) > 1]).reshape(-1, 2))
    dead = values > DEAD[measure]
    alive = (pairs <= DEAD[measure]).all(1)
    died = float(values[dead].mean()) if dead.any() else np.inf
    return Measured(space, genes[~dead], values[~dead], pairs[alive], genes[dead], died)


def read_all(paths: Sequence[Path], measure: Measure = "loss") -> Measured:
    """The evaluations of several files, of one space."""
    return reduce(Measured.joined, (read(path, measure) for path in paths))


def landscape(*paths: Path, measure: Measure = "loss") -> tuple[Problem, Score, Truth]:
    """The problem, noisy values and true ones, fitted to one file or several (the first set without any)."""
    measured = read_all(paths or (FILE,), measure)
    fit = Fit(np.asarray(measured.space.levels), measured.genes, measured.values)

    deaths = measured.deaths(fit) if len(measured.dead) else None

    def score(genes: IntArray, rng: np.random.Generator) -> FloatArray:
        values = fit(genes)
        noisy = values + measured.noise(values) * rng.standard_normal(len(genes))
        if deaths is None:
            return noisy
        return np.where(rng.random(len(genes)) < deaths(values), measured.died, noisy)

    return measured.space, score, fit


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("files", type=Path, nargs="*", default=[FILE])
    parser.add_argument("--measure", choices=("loss", "accuracy"), default="loss")
    parser.add_argument("--on", type=Path, help="also say what the fit makes of the plans of this file")
    options = parser.parse_args()
    measured = read_all(options.files, options.measure)
    predicted = np.zeros(len(measured.values))
    levels = np.asarray(measured.space.levels)
    for kept, left in KFold(FOLDS, shuffle=True, random_state=0).split(measured.genes):
        predicted[left] = Fit(levels, measured.genes[kept], measured.values[kept])(measured.genes[left])
    rows = [
        Row("plans", len(measured.values), "plans"),
        *([Row("networks that died, left out", len(measured.dead), "plans")] if len(measured.dead) else []),
        *_agreement(f"plans left out, {FOLDS} folds", predicted, measured.values),
        *(
            Row(
                f"noise of one measurement, {words} tenth of the plans",
                float(measured.noise(value[None])[0]),
                _unit(options.measure),
            )
            for words, value in zip(("best", "worst"), np.quantile(measured.values, [0.1, 0.9]), strict=True)
        ),
    ]
    if len(measured.pairs):
        both = kendalltau(measured.pairs[:, 0], measured.pairs[:, 1]).statistic
        rows.append(Row(f"Kendall tau of two measurements, {len(measured.pairs)} plans", both, ""))
    if options.on is not None:
        others = read(options.on, options.measure)
        predicted = Fit(levels, measured.genes, measured.values)(others.genes)
        rows += _agreement(f"the plans of {options.on.name}", predicted, others.values)
        rows.append(Row("bias there", float((predicted - others.values).mean()), _unit(options.measure)))
    return report(rows, options.json)


def _agreement(name: str, predicted: FloatArray, values: FloatArray) -> list[Row]:
    residual = ((predicted - values) ** 2).sum() / ((values - values.mean()) ** 2).sum()
    return [
        Row(f"R2 on {name}", 1 - float(residual), ""),
        Row(f"Kendall tau on {name}", kendalltau(predicted, values).statistic, ""),
    ]


def _unit(measure: Measure) -> str:
    return "log loss" if measure == "loss" else "of all answers"


if __name__ == "__main__":
    sys.exit(main())
