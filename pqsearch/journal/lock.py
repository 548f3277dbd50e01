"""A lock on a file that dies with its holder."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords

POLL_SECONDS = 0.1
#: How `this_process` begins.
_NAMED = re.compile(r"process (?P<id>\d+) on (?P<host>\S+) since ")


def this_process() -> str:
    """What others are told of the process that holds what they want."""
    since, command = time.strftime("%Y-%m-%d %H:%M:%S"), json.dumps(hide_passwords(" ".join(sys.argv))[:200])
    return f"process {os.getpid()} on {socket.gethostname()} since {since} ({command})"


@dataclass(frozen=True)
class Holder:
    """Who has a lock by its file, in words; `alive` is None where that cannot be told from this machine."""

    words: str
    alive: bool | None


def look(path: Path) -> Holder | None:
    """Who holds the lock at `path`, or was killed with it; None for nobody. Takes nothing and waits for nobody."""
    try:
        words, inode = path.read_text(errors="replace").strip(), path.stat().st_ino
    except OSError:
        return None
    named = _NAMED.match(words)
    if not words:
        return None
    if named is None or named["host"] != socket.gethostname():
        return Holder(words, None)
    try:
        # A process id may have been given away again; the kernel knows who holds what.
        locks = Path("/proc/locks").read_text()
    except OSError:
        return Holder(words, None)
    return Holder(words, any(f":{inode} " in line and "FLOCK" in line for line in locks.splitlines()))


class Lock:
    """An exclusive `flock`. The system releases it when the process ends in whatever way, so a dead holder's is free.

    A process that just ended may leave helpers behind for some seconds; `wait_seconds` allows for that. `died` names a former
    holder that has not given the lock back: it was killed, or its machine went down.
    """

    def __init__(self, path: Path, wait_seconds: float = 10.0) -> None:
        self.path = path
        self._wait = wait_seconds
        self._handle: int | None = None
        self.died: str | None = None

    def acquire(self) -> None:
        """Take the lock, or raise a `UserError` that names the holder."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be opened ({error.strerror}); check the folder's permissions"
            ) from None
        deadline = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(handle, 4096, 0).decode(errors="replace").strip() or "an unknown process"
                    os.close(handle)
                    raise UserError(
                        f"{self.path.parent}: the run directory is in use by {holder}; wait for it or stop it"
                    ) from None
                time.sleep(POLL_SECONDS)
            except OSError as error:
                os.close(handle)
                raise UserError(
                    f"{self.path}: cannot be locked ({error.strerror}); use a run directory on a disk that has file locks"
                ) from None
        self._handle = handle
        self.died = os.pread(handle, 4096, 0).decode(errors="replace").strip() or None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{this_process()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; does nothing if it is not held."""
        if self._handle is not None:
            with suppress(OSError):  # a disk that has become read-only since
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
