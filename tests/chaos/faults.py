"""Faults that hit a running search, one a function found by name; each says how the search must take it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.journal_faults import flip, tear
from tests.chaos.ledger import pids
from tests.chaos.obedient import Orders
from tests.chaos.processes import SearchProcess
from tests.waiting import until

INTERRUPTED = "interrupted: nothing finished is lost; the same command continues"
#: The last line of a command whose Ray has died under it.
RAY_DIED = "the same command continues"

Strike = Callable[[SearchProcess, Path, random.Random], None]


@dataclass(frozen=True)
class Fault:
    """Something done to a search, given its run directory. `exit_code` is what its command ends with, None where the search goes
    on. `act` is what a candidate is told to do, and fails for. `aftermath` is done before the next start, given the spec too; it
    returns what was not as it must be.
    """

    name: str
    strike: Strike
    exit_code: int | None
    last_line: str = ""
    act: str = ""
    aftermath: Callable[[Path, Path, random.Random], list[str]] = lambda spec, run, rng: []


def all_faults() -> list[Fault]:
    driver = [
        Fault("SIGKILL of the command", _signal_command(signal.SIGKILL), -signal.SIGKILL),
        Fault("SIGTERM of the command", _signal_command(signal.SIGTERM), 130, INTERRUPTED),
        Fault("SIGINT of the command", _signal_command(signal.SIGINT), 130, INTERRUPTED),
    ]
    parts = [
        Fault("SIGKILL of the study actor", _kill("study"), None),
        Fault("SIGKILL of a worker", _kill("worker"), None),
        Fault("a worker stopped (SIGSTOP)", _stop_a_worker, None),
        Fault("SIGKILL of a raylet", _kill("raylet"), 1, RAY_DIED),
        Fault("SIGKILL of the GCS", _kill("gcs"), 1, RAY_DIED),
    ]
    pairs = [
        Fault("study actor and a worker at once", _both(_kill("study"), _kill("worker")), None),
        Fault("study actor killed, a worker stopped at once", _both(_kill("study"), _stop_a_worker), None),
        Fault("two workers at once", _both(_kill("worker", 0), _kill("worker", 1)), None),
        # The worker first: of a command that is gone nobody is known to descend.
        Fault("command and a worker at once", _both(_kill("worker"), driver[0].strike), -signal.SIGKILL),
        Fault("study actor and SIGTERM of the command", _both(_kill("study"), driver[1].strike), 130, INTERRUPTED),
    ]
    disk = [
        Fault("journal torn at every byte of an event", _kill_with_study, -signal.SIGKILL, aftermath=tear),
        Fault("a bit of the journal flipped", _kill_with_study, -signal.SIGKILL, aftermath=flip),
    ]
    candidates = [
        Fault("a candidate that kills its worker", _order("kills"), None, act="kills"),
        Fault("a candidate that hangs", _order("hangs"), None, act="hangs"),
        Fault("a candidate that gives NaN", _order("diverges"), None, act="diverges"),
        Fault("a candidate that runs out of memory", _order("leaks"), None, act="leaks"),
        Fault("a candidate that raises", _order("raises"), None, act="raises"),
    ]
    return driver + parts + pairs + disk + candidates


def _signal_command(number: signal.Signals) -> Strike:
    return lambda search, run, rng: search.process.send_signal(number)


def _kill_with_study(search: SearchProcess, run: Path, rng: random.Random) -> None:
    """The command, whose study must be gone before anybody else touches its journal."""
    search.doomed += search.parts("study")
    search.process.kill()


def _kill(kind: str, which: int | None = None) -> Strike:
    """Kill a process of a kind: any, or the one at a place in the order of their ids."""

    def strike(search: SearchProcess, run: Path, rng: random.Random) -> None:
        def kill() -> bool:
            found = sorted(search.parts(kind), key=lambda process: process.pid)
            if not found:
                return False
            victim = rng.choice(found) if which is None else found[which % len(found)]
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
                return True
            return False

        until(kill)  # a fault that hits nobody would count as survived; who is to be hit may still be starting

    return strike


def _stop_a_worker(search: SearchProcess, run: Path, rng: random.Random) -> None:
    """One that has evaluated: it may be in the middle of it."""

    def stop() -> bool:
        begun = set(pids(run))
        found = [process for process in search.parts("worker") if process.pid in begun]
        if not found:
            return False
        victim = rng.choice(found)
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGSTOP)
            search.doomed.append(victim)
            return True
        return False

    until(stop)


def _order(act: str) -> Strike:
    return lambda search, run, rng: Orders(run).give(act)


def _both(first: Strike, second: Strike) -> Strike:
    def strike(search: SearchProcess, run: Path, rng: random.Random) -> None:
        first(search, run, rng)
        second(search, run, rng)

    return strike
