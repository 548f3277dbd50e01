"""Events as lines: sequenced, checksummed, and read back so that whatever is wrong with them shows.

A journal's line is the event as JSON with its checksum as the last key, whether it stands in a file or in a database.
"""

from __future__ import annotations

import gc
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

Event = dict[str, Any]
#: What follows an event's last value: the checksum of the event as JSON, the closing brace included.
_SEAL = b',"crc":"%08x"}\n'
_SEAL_LENGTH = len(_SEAL % 0)
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
#: Lines decoded in one go.
_AT_ONCE = 64


class StaleEpoch(Exception):
    """Another process has opened the journal since: this one may not write any more."""


@dataclass(frozen=True)
class Parsed:
    """What lines hold: the events before the first line that is wrong.

    `damaged` is that line's number, counted from 1, None where all are whole; `torn` says that a last line was cut off, which
    is no damage: nobody has acted on its event.
    """

    events: list[Event]
    size: int  # bytes of the lines that the events stand in
    torn: bool = False
    damaged: int | None = None


def stamp(events: Sequence[Event], seq: int, epoch: int, time: float) -> list[Event]:
    """Events as they are kept: numbered from `seq` on, with the epoch of their writer and the time of their commit."""
    return [{"seq": seq + index, "epoch": epoch, "time": time, **event} for index, event in enumerate(events)]


def line_of(event: Event) -> bytes:
    """An event as a file keeps it: with its line feed."""
    body = _encode(event).encode()
    return body[:-1] + _SEAL % zlib.crc32(body)


def body_and_crc(event: Event) -> tuple[str, str]:
    """An event as a database keeps it: JSON, all of it ASCII, and its checksum."""
    body = _encode(event)
    return body, f"{zlib.crc32(body.encode()):08x}"


def line(body: str, crc: str) -> bytes:
    """The line of a file that a database's row stands for."""
    return f'{body[:-1]},"crc":"{crc}"}}\n'.encode()


def parse(lines: Iterable[bytes], first: int = 0) -> Parsed:
    """Read lines, each with its line feed, the first of which is event number `first`; never raises."""
    events: list[Event] = []
    size = 0
    rest = iter(lines)
    with _no_collection():
        while some := list(islice(rest, _AT_ONCE)):
            found = _events_of(some)
            for line, event in zip(some, found or map(event_of, some), strict=True):
                if event is None or event.get("seq") != first + len(events):
                    torn = not line.endswith(b"\n")  # can only be the last one
                    return Parsed(events, size, torn, None if torn else first + len(events) + 1)
                events.append(event)
                size += len(line)
    return Parsed(events, size)


def _events_of(lines: Sequence[bytes]) -> list[Event] | None:
    """Several lines decoded together, which share their keys then; None where one of them is not as it was written."""
    if not all(map(_is_sealed, lines)):
        return None
    try:
        events = json.loads(b"[" + b"},".join(line[:-_SEAL_LENGTH] for line in lines) + b"}]")
    except ValueError:
        return None
    return events if len(events) == len(lines) and all(isinstance(event, dict) for event in events) else None


def event_of(line: bytes) -> Event | None:
    """The event of a line, None where the line is not as it was written."""
    if not _is_sealed(line):
        return None
    try:
        event = json.loads(line[:-_SEAL_LENGTH] + b"}")
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _is_sealed(line: bytes) -> bool:
    return line[-_SEAL_LENGTH:] == _SEAL % zlib.crc32(b"}", zlib.crc32(line[:-_SEAL_LENGTH]))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of values are made and none is garbage: looking for some takes longer than all the rest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
