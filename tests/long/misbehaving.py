"""Workers whose candidates hang, kill, leak, stop and raise on purpose; real processes, no training."""

from __future__ import annotations

import os
import resource
import signal
import time
from dataclasses import replace
from itertools import repeat
from typing import Any

from pqsearch.plan import Accuracy, Item, Result
from pqsearch.tune.worker import Worker

HANGS, KILLS, LEAKS, DIVERGES, STOPS, HOLDS = 4, 6, 8, 10, 12, 14
#: Address space that a leaking evaluation may have beside what its process has already.
ROOM = 2**28


class Light(Worker):
    """Knows no data; a candidate is worth something that depends on its plan, and takes a moment."""

    def load(self, config: dict[str, Any]) -> Any:
        return None

    def capacity(self) -> dict[str, Any]:
        return {}

    def lost(self, item: Item) -> list[Item]:
        return []  # there are no weights

    def evaluate(self, item: Item) -> Result:
        time.sleep(0.05)
        share = int(item.plan.hash, 16) / 16**16
        weights = None if item.last else f"{item.id}-{item.repeat}-{item.rung}.pth"
        return Result(item.id, item.rung, item.repeat, Accuracy(share, 100), 1 - share, {"score": 0.05}, weights)


class Misbehaving(Light):
    """Some candidates do what no candidate should."""

    def evaluate(self, item: Item) -> Result:
        if item.repeat == 0 and item.id == HANGS:
            time.sleep(3600)
        if item.repeat == 0 and item.id == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.repeat == 0 and item.id == STOPS:
            os.kill(os.getpid(), signal.SIGSTOP)
        if item.repeat == 0 and item.id == HOLDS:
            sum(repeat(1, 10**13))  # hours, in which nothing else gets the interpreter, no signal handler either
        if item.repeat == 0 and item.id == LEAKS:
            return _leaks(item)
        result = super().evaluate(item)
        return replace(result, loss=float("nan")) if item.id == DIVERGES else result


def _leaks(item: Item) -> Result:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:  # noqa: PTH123  one line, at once
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        bytearray(4 * ROOM)
    except MemoryError as error:
        return Result(item.id, item.rung, item.repeat, None, None, {}, failure=f"out of memory: {error}")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    raise AssertionError("there was room after all")
