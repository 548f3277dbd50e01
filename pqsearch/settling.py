"""Python's collector, spared what a long search keeps.

What a study knows is never garbage. The collector would look through all of it time and again: after a hundred thousand evaluations
that takes a second, in which no worker gets an answer.
"""

from __future__ import annotations

import gc

#: Evaluations after which what came with them is set aside.
EVERY = 1000


class Settling:
    """Told of a study as it grows; belongs to whoever has the process."""

    def __init__(self) -> None:
        self._last = 0

    def note(self, done: int) -> None:
        """`done` evaluations are known: those since the last time are looked through once more, then no more."""
        if done - self._last >= EVERY:
            # What is garbage would stay. Not of all generations: that stops tracking the large dictionaries of plain values, and the
            # next value would bring each of them back among what is young, whole, after every time.
            gc.collect(1)
            gc.freeze()
            self._last = done

    def end(self) -> None:
        """The process goes on to something else."""
        if self._last:
            gc.unfreeze()
