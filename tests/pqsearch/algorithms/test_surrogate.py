"""The Gaussian process behind `surrogate_exchange`."""

from __future__ import annotations

import numpy as np
import pytest

from pqsearch.algorithms._surrogate import Kernel, Surrogate
from pqsearch.problem import FloatArray, IntArray
from tests.pqsearch.problems import Knapsack, coupled, separable

LEVELS = np.array([4, 1, 6, 3, 5, 4, 4, 6])
PROBLEM = Knapsack(LEVELS.tolist())


def _plans(count: int, seed: int) -> IntArray:
    return PROBLEM.repair(np.random.default_rng(seed).integers(0, LEVELS, (count, len(LEVELS))))


def _scores(plans: IntArray, score: object, noise: float = 0.0, seed: int = 0) -> FloatArray:
    exact = np.array([score(tuple(row)) for row in plans.tolist()])  # type: ignore[operator]
    return exact + noise * np.random.default_rng(seed).normal(size=len(plans))


def test_the_additive_kernel_is_the_mean_of_the_smaller_levels() -> None:
    first, second = np.random.default_rng(0).integers(0, LEVELS, (2, 5, len(LEVELS)))
    kernel = Kernel(LEVELS)
    found = kernel.climbed(first) @ kernel.climbed(second).T
    free = LEVELS > 1
    expected = [[(np.minimum(a, b)[free] / (LEVELS[free] - 1)).mean() for b in second] for a in first]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("kind", [separable, coupled], ids=["separable", "coupled"])
def test_it_predicts_plans_that_it_was_not_given(kind: object) -> None:
    score = kind(PROBLEM)  # type: ignore[operator]
    seen, new = _plans(80, 0), _plans(200, 1)
    truth = _scores(new, score)
    mean, _ = Surrogate(Kernel(LEVELS), seen, _scores(seen, score, 0.01)).predict(new)
    assert ((mean - truth) ** 2).mean() < 0.3 * truth.var()


def test_its_mean_is_nearer_to_the_truth_than_the_scores_it_was_given() -> None:
    score = separable(PROBLEM)
    plans = _plans(100, 2)
    exact, noisy = _scores(plans, score), _scores(plans, score, 0.05)
    fitted = Surrogate(Kernel(LEVELS), plans, noisy).fitted
    assert ((fitted - exact) ** 2).mean() < 0.5 * ((noisy - exact) ** 2).mean()


def test_fitted_is_what_it_predicts_of_the_plans_it_was_given() -> None:
    plans = _plans(40, 3)
    model = Surrogate(Kernel(LEVELS), plans, _scores(plans, separable(PROBLEM), 0.02))
    np.testing.assert_allclose(model.predict(plans)[0], model.fitted)


def test_it_is_surer_where_it_has_been() -> None:
    plans = _plans(60, 4)
    near = PROBLEM.repair(np.array([[3, 0, 5, 0, 0, 0, 0, 0]]))
    model = Surrogate(
        Kernel(LEVELS),
        plans[np.abs(plans - near).sum(1) > 6],
        _scores(plans, separable(PROBLEM))[np.abs(plans - near).sum(1) > 6],
    )
    assert model.predict(model.genes)[1].max() < model.predict(np.array([[3, 0, 5, 2, 4, 3, 3, 5]]))[1][0]


@pytest.mark.parametrize("targets", [np.zeros(6), np.full(6, 3.0)], ids=["zeros", "equal"])
def test_equal_scores_and_equal_plans_do_no_harm(targets: FloatArray) -> None:
    plans = np.repeat(_plans(2, 5), 3, axis=0)
    mean, deviation = Surrogate(Kernel(LEVELS), plans, targets).predict(plans)
    np.testing.assert_allclose(mean, targets)
    assert np.isfinite(deviation).all()
