"""Keeps a solver's own words off standard output, where a program's answer may be what others read."""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: The descriptor is the whole process's: two threads that redirect it at once would not both give it back.
_ONE_AT_A_TIME = threading.Lock()
STANDARD_OUTPUT = 1


@contextmanager
def without_lines(beginning: bytes) -> Iterator[None]:
    """What compiled code prints meanwhile comes afterwards, without the lines that begin so."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as held:
        _flush()
        try:
            kept = os.dup(STANDARD_OUTPUT)
        except OSError:  # it is closed: nothing can be printed
            yield
            return
        os.dup2(held.fileno(), STANDARD_OUTPUT)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, STANDARD_OUTPUT)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not line.startswith(beginning):
                    os.write(STANDARD_OUTPUT, line)


def _flush() -> None:
    """C keeps what it prints to a file or a pipe for later."""
    ctypes.CDLL(None).fflush(None)
