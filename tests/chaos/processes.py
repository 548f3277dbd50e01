"""A search as processes of its own: the command, and what Ray started for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.waiting import MOST_SECONDS, until

#: How parts of a search are known by the words of their command lines; which is looked for in this order.
PARTS = {
    "raylet": ("raylet/raylet",),
    "gcs": ("gcs/gcs_server",),
    "study": ("ray::StudyService",),
    "worker": ("ray::Worker", "ResourceTrainable"),
}
#: How long the processes of a command may take to go after it: Ray's agents try for more than a minute to tell a GCS that is gone
#: what has happened.
AFTER_SECONDS = 180.0


class SearchProcess:
    """`pqsearch search SPEC` in a session of its own; what it prints goes to `log`. `prefix` is a command that starts it, `module`
    another one that does the same. Processes in `doomed` are not to outlive what was done to them.
    """

    def __init__(
        self,
        spec: Path,
        log: Path,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        module: str = "pqsearch",
    ) -> None:
        self.log = log
        self.doomed: list[psutil.Process] = []
        self._family: list[psutil.Process] = []
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, "search", str(spec), *arguments],
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                preexec_fn=_hear_interrupts,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def parts(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind that live now."""
        return [member for member in self.family() if any(word in _words(member) for word in PARTS[kind])]

    def outlived(self, seconds: float) -> list[psutil.Process]:
        """Who of the doomed is still there after so many seconds; asked once."""
        deadline = time.monotonic() + seconds
        while any(map(_lives, self.doomed)) and time.monotonic() < deadline:
            time.sleep(0.1)
        found, self.doomed = list(filter(_lives, self.doomed)), []
        return found

    def family(self) -> list[psutil.Process]:
        """Everything that descends from the command; remembered, so that it is known when the command is gone."""
        try:
            found = [psutil.Process(self.process.pid)]
            found += found[0].children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self._family = list({member.pid: member for member in [*self._family, *found]}.values())
        return [member for member in found if _lives(member)]

    def until(self, condition: Callable[[], object]) -> None:
        """Returns as soon as `condition` holds; fails if the command ends before."""

        def holds() -> bool:
            if condition():
                return True
            assert self.running, self.log.read_text(errors="replace")[-3000:]
            return False

        until(holds)

    def wait(self) -> int:
        """Until the command ends by itself; its exit code."""
        return self.process.wait(timeout=MOST_SECONDS)

    def orphans(self) -> list[str]:
        """Command lines of what is still there after the command, and after the time that it has for going."""
        deadline = time.monotonic() + AFTER_SECONDS
        while any(map(_lives, self._family)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [_words(member) for member in self._family if _lives(member)]

    def end(self) -> None:
        """Everything, whatever state it is in."""
        self.family()
        for member in self._family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def lines(self) -> list[str]:
        """What it has printed, without empty lines."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]

    def last_line(self) -> str:
        return next(reversed(self.lines()), "")


def _hear_interrupts() -> None:
    """What a shell begins in its background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
