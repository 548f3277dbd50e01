"""Workers whose candidates hang, kill, leak, stop and raise on purpose; real processes, no training."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from pqsearch.plan import Accuracy, Item, Result
from pqsearch.tune.worker import Worker

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
        act = next((act for act, id in CULPRITS.items() if id == item.id and not item.repeat), None)
        return super().evaluate(item) if act is None else ACTS[act](item)


def _hangs(item: Item) -> Result:
    time.sleep(3600)
    raise AssertionError("somebody should have ended it")


def _holds(item: Item) -> Result:
    sum(repeat(1, 10**13))  # hours, in which nothing else gets the interpreter, no signal handler either
    raise AssertionError("somebody should have ended it")


def _kills(item: Item) -> Result:
    os.kill(os.getpid(), signal.SIGKILL)
    return _hangs(item)


def _stops(item: Item) -> Result:
    os.kill(os.getpid(), signal.SIGSTOP)
    return _hangs(item)


def _raises(item: Item) -> Result:
    raise ArithmeticError("on purpose")


def _diverges(item: Item) -> Result:
    return Result(item.id, item.rung, item.repeat, Accuracy(0.1, 100), float("nan"), {})


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


#: What a candidate may do, how the reason begins for which it fails then, and which one does it here.
ACTS: dict[str, Callable[[Item], Result]] = {
    "hangs": _hangs,
    "holds": _holds,
    "kills": _kills,
    "stops": _stops,
    "leaks": _leaks,
    "raises": _raises,
    "diverges": _diverges,
}
DEADLY = "took down 2 workers"
FAILURES = {
    "hangs": "took longer than rungs[",
    "holds": DEADLY,
    "kills": DEADLY,
    "stops": DEADLY,
    "leaks": "out of memory",
    "raises": DEADLY,
    "diverges": "diverged: loss nan",
}
CULPRITS = {act: 2 * place + 4 for place, act in enumerate(ACTS)}
