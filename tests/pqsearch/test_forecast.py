"""Forecasts of plans that nobody measured: right where they can be, unsure where they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from pqsearch.forecast import FEWEST, Forecast, forecast_of
from tests.pqsearch.problems import Knapsack, Score, separable

PROBLEM = Knapsack([5] * 12, share=0.5)
IMAGES = 1000


def _measured(score: Score, plans: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Repaired random plans and their accuracies, as drawn images would show them."""
    rng = np.random.default_rng(seed)
    genes = PROBLEM.repair(rng.integers(0, 5, (plans, 12)))
    true = np.array([_accuracy(score, row) for row in genes])
    return genes, rng.binomial(IMAGES, true) / IMAGES


def _accuracy(score: Score, genes: np.ndarray) -> float:
    return 0.9 - 0.5 * score(tuple(genes.tolist()))


@pytest.fixture(scope="module")
def forecast() -> Forecast:
    return Forecast(PROBLEM.levels, None, *_measured(separable(PROBLEM), 120), IMAGES)


def test_plans_left_out_lie_in_their_intervals(forecast: Forecast) -> None:
    genes, _ = _measured(separable(PROBLEM), 100, seed=1)
    true = np.array([_accuracy(separable(PROBLEM), row) for row in genes])
    found = forecast.expect(genes)
    inside = [row.low <= value <= row.high for row, value in zip(found, true, strict=True)]
    assert np.mean(inside) >= 0.85
    assert np.corrcoef([row.accuracy for row in found], true)[0, 1] > 0.9


def test_intervals_widen_away_from_what_was_measured(forecast: Forecast) -> None:
    seen, _ = _measured(separable(PROBLEM), 20)
    far = np.zeros((1, 12), dtype=np.int64)
    width = [row.high - row.low for row in forecast.expect(seen)]
    (away,) = forecast.expect(far)
    assert away.high - away.low > 2 * max(width)


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5])
def test_the_plan_for_a_budget_holds_it_and_beats_those_that_were_known(forecast: Forecast, share: float) -> None:
    other = Knapsack(PROBLEM.levels, share=share)
    found = forecast.best(other)
    genes = np.array([found.genes])
    assert (other.costs(genes) <= other.limits).all()
    assert other.repair(genes).tolist() == genes.tolist()
    known, _ = _measured(separable(PROBLEM), 120)
    middle = np.median([_accuracy(separable(PROBLEM), row) for row in other.repair(known)])
    assert _accuracy(separable(PROBLEM), genes[0]) > middle


def test_the_same_evaluations_give_the_same_plan() -> None:
    pair = [Forecast(PROBLEM.levels, None, *_measured(separable(PROBLEM), 30), IMAGES).best(PROBLEM) for _ in range(2)]
    assert pair[0] == pair[1]


def test_equal_scores_and_all_right_or_all_wrong_are_no_trouble() -> None:
    genes, _ = _measured(separable(PROBLEM), 10)
    for value in (0.0, 0.5, 1.0):
        found = Forecast(PROBLEM.levels, None, genes, np.full(10, value), IMAGES).best(PROBLEM)
        assert abs(found.accuracy - value) < 0.01
        assert 0 < found.low <= found.accuracy <= found.high < 1


@pytest.mark.parametrize("beside", [0.0, 0.001])
def test_plans_that_tie_at_the_top_do_not_hide_how_bad_the_others_are(beside: float) -> None:
    """More than half of 41 plans get every image right, or all but one; the rest fall off steeply."""
    rng = np.random.default_rng(0)
    genes = rng.integers(0, 5, (41, 12))
    scores = np.array([separable(PROBLEM)(tuple(row)) for row in genes.tolist()])
    behind = np.maximum(0.0, scores - np.quantile(scores, 0.56))
    accuracies = np.where(behind > 0, 1 / (1 + np.exp(25 * behind - 4)), 1.0 - beside * (np.arange(41) % 2))
    forecast = Forecast(PROBLEM.levels, None, genes, accuracies, IMAGES)
    worst = int(np.argmin(accuracies))
    (found,) = forecast.expect(genes[[worst]])
    assert accuracies[worst] < 0.7
    assert found.low <= accuracies[worst] <= found.high
    (cheapest,) = forecast.expect(np.zeros((1, 12), dtype=np.int64))
    assert cheapest.low < 0.7 and cheapest.accuracy < 0.9


def test_too_few_evaluations_give_none() -> None:
    genes, accuracies = _measured(separable(PROBLEM), FEWEST)
    rows = [
        {"state": "done", "genes": row, "repeats": [value], "images": IMAGES}
        for row, value in zip(genes.tolist(), accuracies.tolist(), strict=True)
    ]
    failed = {"state": "failed", "genes": rows[0]["genes"], "repeats": [], "images": None}
    assert forecast_of(PROBLEM.levels, None, [*rows[1:], failed]) is None
    assert forecast_of(PROBLEM.levels, None, [*rows, failed]) is not None
