"""Faults that hit a running search, one a function found by name; each says how the search must take it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.chaos.processes import SearchProcess

INTERRUPTED = "interrupted: nothing finished is lost; the same command continues"
#: The last line of a command whose Ray has died under it.
RAY_DIED = "the same command continues"


@dataclass(frozen=True)
class Fault:
    """Something done to a search. `exit_code` is what its command ends with, None where the search goes on."""

    name: str
    strike: Callable[[SearchProcess, random.Random], None]
    exit_code: int | None
    last_line: str = ""


def all_faults() -> list[Fault]:
    driver = [
        Fault("SIGKILL of the command", _signal_command(signal.SIGKILL), -signal.SIGKILL),
        Fault("SIGTERM of the command", _signal_command(signal.SIGTERM), 130, INTERRUPTED),
        Fault("SIGINT of the command", _signal_command(signal.SIGINT), 130, INTERRUPTED),
    ]
    parts = [
        Fault("SIGKILL of the study actor", _kill("study"), None),
        Fault("SIGKILL of a worker", _kill("worker"), None),
        Fault("SIGKILL of a raylet", _kill("raylet"), 1, RAY_DIED),
        Fault("SIGKILL of the GCS", _kill("gcs"), 1, RAY_DIED),
    ]
    pairs = [
        Fault("study actor and a worker at once", _both(_kill("study"), _kill("worker")), None),
        Fault("two workers at once", _both(_kill("worker", 0), _kill("worker", 1)), None),
        Fault("command and a worker at once", _both(driver[0].strike, _kill("worker")), -signal.SIGKILL),
        Fault("study actor and SIGTERM of the command", _both(_kill("study"), driver[1].strike), 130, INTERRUPTED),
    ]
    return driver + parts + pairs


def _signal_command(number: signal.Signals) -> Callable[[SearchProcess, random.Random], None]:
    return lambda search, rng: search.process.send_signal(number)


def _kill(kind: str, which: int | None = None) -> Callable[[SearchProcess, random.Random], None]:
    """Kill a process of a kind: any, or the one at a place in the order of their ids."""

    def strike(search: SearchProcess, rng: random.Random) -> None:
        found = sorted(search.parts(kind), key=lambda process: process.pid)
        if not found:
            return
        victim = rng.choice(found) if which is None else found[which % len(found)]
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return

    return strike


def _both(
    first: Callable[[SearchProcess, random.Random], None], second: Callable[[SearchProcess, random.Random], None]
) -> Callable[[SearchProcess, random.Random], None]:
    def strike(search: SearchProcess, rng: random.Random) -> None:
        first(search, rng)
        second(search, rng)

    return strike
