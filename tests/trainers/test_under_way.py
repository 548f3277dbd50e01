"""How far an epoch is, told while it runs."""

from __future__ import annotations

from trainers.under_way import SECONDS, told


class Clock:
    """Moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_batches_pass_as_they_are_and_the_share_that_was_used_is_told_now_and_then() -> None:
    clock, heard = Clock(), []
    passed = []
    for batch in told("abcdefgh", 8, heard.append, clock):
        passed.append(batch)
        clock.now += 0.4 * SECONDS
    assert "".join(passed) == "abcdefgh"
    assert heard == [3 / 8, 6 / 8]


def test_a_short_epoch_is_not_told_within() -> None:
    heard: list[float] = []
    assert list(told(range(100), 100, heard.append)) == list(range(100))
    assert heard == []
