"""Who has given no sign of life for too long, by a clock that need not run all the time."""

from __future__ import annotations

from collections.abc import Callable

#: Looks and beats that fit into the time after which a silent one is given up.
BEATS, LOOKS = 6, 10
#: Of the time between two looks so much counts at most, as a share of that time: who was stopped itself has heard nobody.
MOST_COUNTED = 0.2


class Heartbeats:
    """Adds up silence from look to look. `clock` gives seconds and never goes back."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._looked = clock()
        self._silence: dict[str, float] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._silence

    def hear(self, name: str) -> None:
        """A sign of life; the first one begins the watch over it."""
        self._silence[name] = 0.0

    def forget(self, name: str) -> None:
        self._silence.pop(name, None)

    def silent(self) -> list[str]:
        """Who is to be given up now; nobody is named twice. To be called about `LOOKS` times in `seconds`."""
        now = self._clock()
        passed, self._looked = min(now - self._looked, MOST_COUNTED * self.seconds), now
        for name in self._silence:
            self._silence[name] += passed
        found = [name for name, seconds in self._silence.items() if seconds > self.seconds]
        for name in found:
            self.forget(name)
        return found
