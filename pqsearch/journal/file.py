"""A journal in a file: one JSON line per event, appended and flushed to disk in groups.

Every line carries its sequence number, the epoch of the process that wrote it and a checksum. A torn last line, what a
power cut leaves, is dropped and reported; damage anywhere else is an error that names file and line.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError

Event = dict[str, Any]
_CRC = ',"crc":"'


class StaleEpoch(Exception):
    """Another process has opened the journal since: this one may not write any more."""


class Journal:
    """Appends events to a file. Construct it with `Journal.open`."""

    def __init__(self, path: Path, handle: int, offset: int, seq: int, epoch: int, clock: Callable[[], float]) -> None:
        self.path = path
        self.epoch = epoch
        self._handle = handle
        self._offset = offset
        self._seq = seq
        self._clock = clock

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float]) -> tuple[Journal, list[Event], bool]:
        """Open or create a journal; returns it, its events, and whether a torn last line was dropped.

        The caller holds the lock. Raises `UserError` for a damaged or unreadable file.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"{path}: cannot be opened ({error.strerror}); check the folder's permissions") from None
        try:
            events, offset, torn = _parse(path, path.read_bytes())
            if torn:
                os.ftruncate(handle, offset)
                os.fsync(handle)
            if not events:
                _flush_folder(path.parent)
        except BaseException:
            os.close(handle)
            raise
        epoch = max((event["epoch"] for event in events), default=0) + 1
        return cls(path, handle, offset, len(events), epoch, clock), events, torn

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Commit events with one write and one flush to disk; returns them with seq, epoch and time.

        Raises `StaleEpoch` if the file has grown behind our back, `UserError` if the disk refuses. In both cases
        nothing of this group stays in the file.
        """
        if os.fstat(self._handle).st_size != self._offset:
            raise StaleEpoch(f"{self.path}: another process has written to it; this one stops")
        now = self._clock()
        stamped = [
            {"seq": self._seq + index, "epoch": self.epoch, "time": now, **event} for index, event in enumerate(events)
        ]
        data = b"".join(_line(event) for event in stamped)
        try:
            written = os.pwrite(self._handle, data, self._offset)
            if written != len(data):
                raise OSError(28, "No space left on device")
            os.fsync(self._handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._offset)
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); free space, then the same command continues"
            ) from None
        self._offset += len(data)
        self._seq += len(stamped)
        return stamped

    def close(self) -> None:
        """Give the file back; all events are on disk already."""
        os.close(self._handle)


def read_events(path: Path) -> list[Event]:
    """Events of a journal that someone else may be writing: read-only, without a lock. A torn last line is left out."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return _parse(path, data)[0]


def _line(event: Event) -> bytes:
    body = json.dumps(event, separators=(",", ":"), allow_nan=False)
    return f'{body[:-1]}{_CRC}{zlib.crc32(body.encode()):08x}"}}\n'.encode()


def _parse(path: Path, data: bytes) -> tuple[list[Event], int, bool]:
    """Events, the offset behind the last good one, and whether a torn line follows it."""
    events: list[Event] = []
    offset = 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        event = _event(line)
        if event is None or event.get("seq") != len(events):
            if offset + len(line) == len(data) and not line.endswith(b"\n"):
                return events, offset, True
            raise UserError(
                f"{path}: line {number} is damaged; restore the file from a backup, or move it away to search anew"
            )
        events.append(event)
        offset += len(line)
    return events, offset, False


def _event(line: bytes) -> Event | None:
    try:
        text = line.decode()
        body, _, crc = text.rpartition(_CRC)
        event = json.loads(body + "}")
        whole = crc == f'{zlib.crc32((body + "}").encode()):08x}"}}\n'
        return event if whole and isinstance(event, dict) else None
    except ValueError:
        return None


def _flush_folder(folder: Path) -> None:
    """A new file survives a power cut only once its folder is on disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
