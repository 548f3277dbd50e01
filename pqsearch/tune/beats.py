"""A worker's signs of life, from a thread beside its evaluations."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

import ray

from pqsearch.heartbeats import BEATS
from pqsearch.tune.lane import Lane

#: Exit code of a worker that the study has given up: another one has its seat.
GIVEN_UP = 76
#: How long the last beat may take to be sent.
STOP_SECONDS = 1.0


class Beats(threading.Thread):
    """Tells the study, and nobody else, that its worker lives: `BEATS` times in the seconds after which it would be given up.

    A worker that was given up and comes back hears of it here, and ends its process. One whose study has begun anew hears of
    that here, too, and says what it holds, which nobody else must be given.
    """

    def __init__(self, study: Any, seat: str, incarnation: str, shares: str | None, silence_seconds: float) -> None:
        super().__init__(daemon=True)
        self._study = study
        self._worker = seat, incarnation
        self._told = ray.get_runtime_context().current_actor, shares
        self._every = silence_seconds / BEATS
        self._over = threading.Event()
        self._epoch = 0  # of the study that knows what this worker holds
        self.lane: Lane | None = None  # once it has loaded what it needs

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(ray.exceptions.RayError):  # the study is away; the lane notices when that matters
                self._beat()
            self._over.wait(self._every)

    def _beat(self) -> None:
        epoch = ray.get(self._study.beat.remote(*self._worker, *self._told, self.lane is not None))
        if epoch is None:
            os._exit(GIVEN_UP)
        if epoch != self._epoch:
            # Only now: what it was handed by the study before is at hand, and whatever it asks for comes from this one.
            holding = self.lane.holding() if self.lane is not None else []
            ray.get(self._study.claim.remote(epoch, *self._worker, holding))
        self._epoch = epoch

    def stop(self) -> None:
        """No beat is sent from here on."""
        self._over.set()
        self.join(timeout=STOP_SECONDS)
