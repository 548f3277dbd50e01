"""Images are decoded by all processors and come in their order; a long stream says how far it is."""

from __future__ import annotations

import itertools
import logging
import os
import time

import pytest

from trainers.datasets._ahead import AHEAD, TOLD_SECONDS, in_order, told


def test_results_come_in_the_order_of_the_stream_whoever_is_done_first() -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(in_order(range(200), work)) == [(number, number * number) for number in range(200)]


def test_little_of_a_stream_is_taken_ahead_of_what_is_used() -> None:
    stream = itertools.count()
    found = in_order(stream, lambda number: number)
    assert [next(found) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    found.close()
    assert 3 < next(stream) <= 3 + AHEAD * len(os.sched_getaffinity(0)) + 1


def test_what_the_work_raises_is_raised_where_its_result_would_come() -> None:
    def work(number: int) -> int:
        if number == 5:
            raise ArithmeticError("no luck")
        return number

    found = in_order(range(10), work)
    assert [next(found) for _ in range(5)] == [(number, number) for number in range(5)]
    with pytest.raises(ArithmeticError, match="no luck"):
        next(found)


def test_a_long_stream_says_now_and_then_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    seconds = itertools.count(step=TOLD_SECONDS / 100)
    with caplog.at_level(logging.INFO):
        assert list(told(range(250), "decoding", lambda: next(seconds))) == list(range(250))
    assert [record.getMessage() for record in caplog.records] == [
        "decoding: 100 so far, 10 a second",
        "decoding: 200 so far, 10 a second",
    ]
