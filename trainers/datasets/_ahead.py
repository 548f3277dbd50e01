"""Work on a stream by all processors, taken up in its order."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

#: What each processor may have waiting: enough that none runs dry, and little memory.
AHEAD = 16
#: Who waits for longer is told how far it is, and again after as long.
TOLD_SECONDS = 10.0


def in_order(stream: Iterable[T], work: Callable[[T], R]) -> Generator[tuple[T, R], None, None]:
    """Each element with what `work` makes of it, in the order of the stream. For work that lets go of Python's lock, such as
    Pillow's; what it raises is raised here.
    """
    threads = len(os.sched_getaffinity(0))
    waiting: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for element in stream:
            waiting.append((element, pool.submit(work, element)))
            if len(waiting) > AHEAD * threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()


def told(stream: Iterable[T], what: str, clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
    """The stream as it is; where it takes long, the log says how many have come so far."""
    since = began = clock()
    for number, element in enumerate(stream):
        if (now := clock()) - since >= TOLD_SECONDS:
            log.info("%s: %s so far, %.0f a second", what, f"{number:,}", number / (now - began))
            since = now
        yield element
