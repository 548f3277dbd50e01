"""How long a stage will still take, by how far it came while it was watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: In less than this a stage shows nothing of its pace.
LEAST_SECONDS = 2.0


class Pace:
    """Watches the states of one stage after another. What was done before it looked, as by a run that goes on, does not count."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._from = self._since = 0.0

    def left(self, state: Mapping[str, Any], now: float) -> float | None:
        """Seconds, None as long as nobody can know. `now` is in seconds, since whenever."""
        done, total = state.get("done", 0), state.get("total", 0)
        of = (state.get("stage"), state.get("unit"), total)
        if of != self._of or done < self._from:
            self._of, self._from, self._since = of, done, now
        come, seconds = done - self._from, now - self._since
        if come <= 0 or done >= total or seconds < LEAST_SECONDS:
            return None
        return (total - done) * seconds / come
