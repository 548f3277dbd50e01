"""What `benchmarks/halving.py` compares, and how it counts."""

from __future__ import annotations

import pytest
from halving import Arm, _spec, rows


def test_both_arms_have_the_same_rungs_and_one_of_them_halves() -> None:
    full, halving = _spec([]), _spec([], {"halving": {"factor": 4.0}})
    assert len(full.rungs) == 3 and full.rungs == halving.rungs
    assert full.halving is None and halving.halving is not None and halving.halving.factor == 4


def _arm(plans: tuple[int, int], accuracy: float, slow: float = 1.0) -> Arm:
    return Arm({0: [10 * slow] * plans[0], 1: [30 * slow] * plans[1]}, {0: [10.0], 1: [30.0]}, accuracy)


def test_time_is_compared_without_and_with_what_is_measured_again() -> None:
    found = {row.name: row for row in rows([_arm((8, 8), 80.0), _arm((8, 8), 81.0)], [_arm((8, 2), 80.2)] * 2)}
    assert found["worker time of halving, by that of every rung"].value == pytest.approx(140 / 320)
    assert found["the same, with re-measurements of leading plans"].value == pytest.approx(180 / 360)
    assert not found["the same, each rung at its mean seconds over both"].met
    gain = found["what halving gains, at most a standard deviation below nothing"]
    assert gain.value == pytest.approx(-0.3) and gain.bar == pytest.approx(-0.7071, abs=1e-4) and gain.met


def test_a_slow_hour_changes_nothing_at_mean_seconds() -> None:
    even = "the same, each rung at its mean seconds over both"
    found = {row.name: row.value for row in rows([_arm((8, 8), 80.0)], [_arm((8, 2), 80.0, slow=3.0)])}
    assert found["worker time of halving, by that of every rung"] > 1.3
    # Of both arms together: slow ones count in the mean of their rung, not for their arm.
    assert found[even] == pytest.approx((8 * 20 + 2 * 42) / (8 * 20 + 8 * 42))
