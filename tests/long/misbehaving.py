"""Workers whose candidates hang, kill, leak and raise on purpose; real processes, no training."""

from __future__ import annotations

import os
import resource
import signal
import time
from typing import Any

from pqsearch.plan import Accuracy, Item, Result
from pqsearch.tune.worker import Worker

HANGS, KILLS, LEAKS, DIVERGES = 4, 6, 8, 10
#: Address space that a leaking evaluation may have beside what its process has already.
ROOM = 2**28


class Misbehaving(Worker):
    """Most candidates are worth something that depends on their plan, and take a moment."""

    def load(self, config: dict[str, Any]) -> Any:
        return None

    def capacity(self) -> dict[str, Any]:
        return {}

    def evaluate(self, item: Item) -> Result:
        time.sleep(0.05)
        if item.repeat == 0 and item.id == HANGS:
            time.sleep(3600)
        if item.repeat == 0 and item.id == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.repeat == 0 and item.id == LEAKS:
            return _leaks(item)
        share = int(item.plan.hash, 16) / 16**16
        loss = float("nan") if item.id == DIVERGES else 1 - share
        weights = None if item.last else f"{item.id}-{item.repeat}-{item.rung}.pth"
        return Result(item.id, item.rung, item.repeat, Accuracy(share, 100), loss, {"score": 0.05}, weights)


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
