"""How long a stage will still take."""

from __future__ import annotations

from typing import Any

from pqsearch.pace import LEAST_SECONDS, Pace


def _state(done: float, total: int = 10, stage: str = "baseline", **more: Any) -> dict[str, Any]:
    return {"stage": stage, "done": done, "total": total, **more}


def test_what_is_left_takes_as_long_a_piece_as_what_was_done() -> None:
    pace = Pace()
    assert pace.left(_state(0), 100.0) is None
    assert pace.left(_state(2.5), 130.0) == 90.0
    assert pace.left(_state(5), 140.0) == 40.0
    assert pace.left(_state(10), 180.0) is None


def test_what_an_earlier_session_did_says_nothing_of_the_pace_of_this_one() -> None:
    pace = Pace()
    assert pace.left(_state(6), 0.0) is None
    assert pace.left(_state(8), 10.0) == 10.0


def test_nothing_is_forecast_from_a_moment() -> None:
    pace = Pace()
    pace.left(_state(0), 0.0)
    assert pace.left(_state(1), LEAST_SECONDS / 2) is None
    assert pace.left(_state(1), LEAST_SECONDS) == 9 * LEAST_SECONDS


def test_another_stage_unit_or_total_and_one_that_begins_anew_are_watched_from_their_own_start() -> None:
    pace = Pace()
    pace.left(_state(0), 0.0)
    for other in (_state(3, stage="finetune"), _state(3, unit="parts"), _state(3, total=5), _state(2, total=5)):
        assert pace.left(other, 50.0) is None
    assert pace.left(_state(3, total=5), 60.0) == 20.0
