"""How far an epoch is, told while it runs: one of a large network takes hours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

#: Between two tellings.
SECONDS = 10.0
T = TypeVar("T")


def told(
    batches: Iterable[T],
    count: int,
    tell: Callable[[float], None],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """The same batches. `tell` hears, at most every `SECONDS`, which share of the `count` has been used."""
    last = clock()
    for used, batch in enumerate(batches):
        if clock() - last >= SECONDS:
            tell(used / count)
            last = clock()
        yield batch
