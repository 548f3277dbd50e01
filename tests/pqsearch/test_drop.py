"""The drop against the baseline: paired, one-sided, never certain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pqsearch.drop import drop_of
from pqsearch.report.verdict import paired_difference


def _row(lost: int, gained: int, images: int = 1000) -> dict[str, int]:
    return {"lost": lost, "gained": gained, "images": images}


def test_the_error_is_that_of_paired_samples() -> None:
    rng = np.random.default_rng(0)
    baseline, plan = rng.random(5000) < 0.9, rng.random(5000) < 0.85
    found = drop_of([_row(int((baseline & ~plan).sum()), int((plan & ~baseline).sum()), 5000)])
    exact = paired_difference(baseline, plan)
    assert found is not None
    assert found.value == pytest.approx(100 * exact["value"])
    assert found.standard_error == pytest.approx(100 * exact["standard_error"], rel=1e-2)


def test_bounds_lie_on_either_side_and_measuring_again_does_not_shrink_them() -> None:
    once, thrice = drop_of([_row(30, 10)]), drop_of([_row(30, 10)] * 3)
    assert once is not None
    assert once == thrice
    assert once.low < once.value < once.high
    assert once.value == pytest.approx(2.0)
    assert once.high - once.value == pytest.approx(1.645 * once.standard_error)


def test_repeats_are_averaged() -> None:
    found = drop_of([_row(30, 10), _row(10, 30)])
    assert found is not None and found.value == 0


def test_no_image_that_differs_is_no_proof() -> None:
    found = drop_of([_row(0, 0, 100)])
    assert found is not None
    assert found.value == 0
    assert found.high == pytest.approx(1.645 * 100 * math.sqrt(1 / 100 / 100))


def test_measurements_that_were_not_compared_say_nothing() -> None:
    assert drop_of([]) is None
    assert drop_of([{"images": 100, "accuracy": 0.9}]) is None
