"""Who is given up: those that were silent while somebody listened, and each once."""

from __future__ import annotations

from pqsearch.heartbeats import Heartbeats


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _looks(beats: Heartbeats, clock: Clock, number: int, heard: str = "") -> list[str]:
    """Who is given up in a number of looks, six seconds apart, between which some are heard."""
    found = []
    for _ in range(number):
        for name in heard:
            beats.hear(name)
        clock.now += 6
        found += beats.silent()
    return found


def test_who_is_silent_for_longer_than_allowed_is_named_once() -> None:
    clock = Clock()
    beats = Heartbeats(60, clock)
    beats.hear("a")
    beats.hear("b")
    assert _looks(beats, clock, 10, heard="a") == []
    assert _looks(beats, clock, 1, heard="a") == ["b"]
    assert _looks(beats, clock, 30, heard="a") == []


def test_one_sign_of_life_is_enough_to_begin_anew() -> None:
    clock = Clock()
    beats = Heartbeats(60, clock)
    beats.hear("a")
    assert _looks(beats, clock, 9) == []
    beats.hear("a")
    assert _looks(beats, clock, 10) == []
    assert _looks(beats, clock, 1) == ["a"]


def test_who_listened_to_nobody_for_an_hour_gives_nobody_up_for_it() -> None:
    clock = Clock()
    beats = Heartbeats(60, clock)
    beats.hear("a")
    clock.now += 3600
    assert beats.silent() == []
    assert _looks(beats, clock, 8) == []
    assert _looks(beats, clock, 1) == ["a"]


def test_who_has_left_is_not_missed() -> None:
    clock = Clock()
    beats = Heartbeats(60, clock)
    beats.hear("a")
    beats.forget("a")
    assert "a" not in beats
    assert _looks(beats, clock, 30) == []
