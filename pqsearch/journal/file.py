"""A journal in a file: one JSON line per event, appended and flushed to disk in groups.

Every line carries its sequence number, the epoch of the process that wrote it and a checksum. A torn last line, what a
power cut leaves, is dropped and reported; damage anywhere else is an error that names file and line.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import count, islice
from pathlib import Path

from pqsearch.errors import UserError
from pqsearch.journal.lock import Lock
from pqsearch.journal.record import Event, Parsed, StaleEpoch, line_of, parse, stamp


class Journal:
    """Appends events to a file. Construct it with `Journal.open`."""

    def __init__(
        self,
        path: Path,
        handle: int,
        offset: int,
        seq: int,
        epoch: int,
        clock: Callable[[], float],
        lock: Lock | None = None,
    ) -> None:
        self.path = path
        self.where = str(path)
        self.epoch = epoch
        self._handle = handle
        self._offset = offset
        self._seq = seq
        self._clock = clock
        self._lock = lock

    @classmethod
    def open(
        cls, path: Path, clock: Callable[[], float], lock: Lock | None = None
    ) -> tuple[Journal, list[Event], bool]:
        """Open or create a journal; returns it, its events, and whether a torn last line was dropped.

        The caller holds the lock; `close` gives `lock` back. Raises `UserError` for a damaged or unreadable file.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"{path}: cannot be opened ({error.strerror}); check the folder's permissions") from None
        try:
            found = _whole(path, read(path))
            if found.torn:
                os.ftruncate(handle, found.size)
                os.fsync(handle)
            if not found.events:
                flush_folder(path.parent)
        except BaseException:
            os.close(handle)
            raise
        epoch = max((event["epoch"] for event in found.events), default=0) + 1
        return cls(path, handle, found.size, len(found.events), epoch, clock, lock), found.events, found.torn

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Commit events with one write and one flush to disk; returns them with seq, epoch and time.

        Raises `StaleEpoch` if the file has grown behind our back, `UserError` if the disk refuses. In both cases
        nothing of this group stays in the file.
        """
        if os.fstat(self._handle).st_size != self._offset:
            raise StaleEpoch(f"{self.path}: another process has written to it; this one stops")
        stamped = stamp(events, self._seq, self.epoch, self._clock())
        if not stamped:
            return []
        data = b"".join(map(line_of, stamped))
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
        if self._lock is not None:
            self._lock.release()


class DamagedFile:
    """A journal's file that is held to be mended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Parsed:
        return read(self._path)

    def lines(self) -> AbstractContextManager[Iterator[bytes]]:
        return self._path.open("rb")

    def set_aside(self, keep: int) -> str:
        """Swap in a file of the first `keep` lines; the damaged one stays beside it under the name returned."""
        path = self._path
        aside = next(
            name
            for number in count(1)
            if not (name := path.with_name(f"{path.stem}-damaged-{number}{path.suffix}")).exists()
        )
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as whole, path.open("rb") as lines:
                whole.writelines(islice(lines, keep))
                whole.flush()
                os.fsync(whole.fileno())
            shutil.copymode(path, temporary)
            try:
                os.link(path, aside)
            except OSError:  # a file system that knows no second names
                shutil.copy2(path, aside)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        flush_folder(path.parent)
        return str(aside)


def read_events(path: Path) -> list[Event]:
    """Events of a journal that someone else may be writing: read-only, without a lock. A torn last line is left out."""
    return _whole(path, read(path)).events


def read(path: Path) -> Parsed:
    """What a journal's file holds, whole or not. Raises `UserError` for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return parse(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _whole(path: Path, found: Parsed) -> Parsed:
    if found.damaged is None:
        return found
    raise UserError(
        f"{path}: line {found.damaged} is damaged; `pqsearch repair {path.parent}` saves what stands before it, "
        "or restore the file from a backup"
    )


def flush_folder(folder: Path) -> None:
    """A new file survives a power cut only once its folder is on disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
