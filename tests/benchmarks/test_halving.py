"""What `benchmarks/halving.py` compares, and how it counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from halving import HALVED, HALVED_STAGES, STAGES, Arm, _spec, rows

from pqsearch.spec import Spec


def test_both_arms_train_alike_and_one_of_them_halves() -> None:
    full, halving = _spec([]), _spec([], {"rungs": HALVED, "halving": {"factor": 4.0}})
    assert full.halving is None and halving.halving is not None and halving.halving.factor == 4
    assert _updates(full, STAGES) == _updates(halving, HALVED_STAGES) == {0: 28, 1: 72}


def _updates(spec: Spec, stages: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for rung, stage in zip(spec.rungs, stages, strict=True):
        found[stage] = found.get(stage, 0) + rung.steps
    return found


def _arm(plans: tuple[int, int], accuracy: float, slow: float = 1.0) -> Arm:
    return Arm({0: [10 * slow] * plans[0], 1: [30 * slow] * plans[1]}, {0: [10.0], 1: [30.0]}, accuracy)


def test_time_is_compared_without_and_with_what_is_measured_again() -> None:
    found = {row.name: row for row in rows([_arm((8, 8), 80.0), _arm((8, 8), 81.0)], [_arm((8, 2), 80.2)] * 2)}
    assert found["worker time of halving, by that of every plan to the end"].value == pytest.approx(140 / 320)
    assert found["the same, with re-measurements of leading plans"].value == pytest.approx(180 / 360)
    assert not found["worker time of halving, by that of every plan to the end"].met
    gain = found["what halving gains, at most a standard deviation below nothing"]
    assert gain.value == pytest.approx(-0.3) and gain.bar == pytest.approx(-0.7071, abs=1e-4) and gain.met


def test_a_slow_hour_changes_nothing_at_mean_seconds() -> None:
    even = "the same, each stage at its mean seconds over both"
    found = {row.name: row.value for row in rows([_arm((8, 8), 80.0)], [_arm((8, 2), 80.0, slow=3.0)])}
    assert found["worker time of halving, by that of every plan to the end"] > 1.3
    # Of both arms together: slow ones count in the mean of their stage, not for their arm.
    assert found[even] == pytest.approx((8 * 20 + 2 * 42) / (8 * 20 + 8 * 42))
