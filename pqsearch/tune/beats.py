"""A worker's signs of life, from a thread beside its evaluations."""

from __future__ import annotations

import os
import threading
from typing import Any

import ray

from pqsearch.heartbeats import BEATS

#: Exit code of a worker that the study has given up: another one has its seat.
GIVEN_UP = 76
#: How long the last beat may take to be sent.
STOP_SECONDS = 1.0


class Beats(threading.Thread):
    """Tells the study, and nobody else, that its worker lives: `BEATS` times in the seconds after which it would be given up.

    A worker that was given up and comes back hears of it here, and ends its process.
    """

    def __init__(self, study: Any, seat: str, incarnation: str, shares: str | None, silence_seconds: float) -> None:
        super().__init__(daemon=True)
        self._study = study
        self._told = seat, incarnation, ray.get_runtime_context().current_actor, shares
        self._every = silence_seconds / BEATS
        self._over = threading.Event()
        self.seated = False  # it has loaded what it needs

    def run(self) -> None:
        while not self._over.is_set():
            try:
                mine = ray.get(self._study.beat.remote(*self._told, self.seated))
            except ray.exceptions.RayError:
                mine = True  # the study is away; the lane notices when that matters
            if not mine:
                os._exit(GIVEN_UP)
            self._over.wait(self._every)

    def stop(self) -> None:
        """No beat is sent from here on."""
        self._over.set()
        self.join(timeout=STOP_SECONDS)
