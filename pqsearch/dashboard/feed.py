"""What the server sends: the headline and the list of sections as they stand now, and a section's figure when asked for.

Everything that touches the study runs on one thread, so that no figure is drawn of a study that is changing.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, TypeVar

from pqsearch.dashboard.headline import headline
from pqsearch.dashboard.sections import Section, Sections
from pqsearch.dashboard.watched import Watched

#: Seconds between two looks at the journal. A server of databases is not asked as often.
LOOK_SECONDS, DATABASE_SECONDS = 1.0, 2.0
#: Sections are made anew after so long at least, and may take this share of one processor.
SECTIONS_SECONDS, MOST_BUSY = 2.0, 0.1

Answer = TypeVar("Answer")


class Feed:
    """The page's content, kept up to date by `watch`. `number` counts its states; whoever waits for the next one calls `next`."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._makes = Sections(watched)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dashboard")
        self._sections: dict[str, Section] = {}
        self._drawn: dict[str, tuple[str, bytes]] = {}
        self._made: tuple[Any, float, float] = (None, 0.0, 0.0)  # of what, when, and the processor seconds it took
        self._changed = asyncio.Condition()
        self.number = 0
        self.content: dict[str, Any] = {"headline": {}, "sections": []}

    async def watch(self) -> None:
        """Look for news until cancelled."""
        pause = LOOK_SECONDS if self._watched.spec.study.storage is None else DATABASE_SECONDS
        while True:
            await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Take in what is new, and tell those who wait if there is anything."""
        content = await self.run(self._look)
        if content != self.content or not self.number:
            async with self._changed:
                self.content, self.number = content, self.number + 1
                self._changed.notify_all()

    async def next(self, seen: int, seconds: float) -> bool:
        """Wait until there is another state than number `seen`; False where none came in time."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.number != seen)
        except TimeoutError:
            return False
        return True

    async def figure(self, id: str) -> bytes | None:
        """A section's figure as JSON, compressed by gzip; None for an unknown section."""
        return await self.run(lambda: self._figure(id))

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do something with the study, on its own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def sections(self) -> list[Section]:
        """The sections as they were made last. To be called by `run`."""
        return list(self._sections.values())

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> dict[str, Any]:
        self._watched.try_to_follow()
        (of, at, cost), mark = self._made, self._watched.mark()
        if mark != of and (of is None or time.monotonic() - at >= max(SECTIONS_SECONDS, cost / MOST_BUSY)):
            began = time.thread_time()
            self._sections = {section.id: section for section in self._makes.make()}
            self._made = mark, time.monotonic(), time.thread_time() - began
        return {"headline": headline(self._watched), "sections": [_listed(one) for one in self._sections.values()]}

    def _figure(self, id: str) -> bytes | None:
        section = self._sections.get(id)
        if section is None or section.draw is None:
            return None
        wanted, (version, data) = _version(section), self._drawn.get(id, ("", b""))
        if version != wanted:
            data = gzip.compress(section.draw().to_json().encode(), compresslevel=5)
            self._drawn[id] = wanted, data
        return data


def _listed(section: Section) -> dict[str, Any]:
    """What the page is told of a section; `version` is None where it has no figure."""
    told = {key: getattr(section, key) for key in ("id", "title", "words", "share", "least")}
    return {**told, "version": None if section.draw is None else _version(section)}


def _version(section: Section) -> str:
    return sha256(json.dumps([section.id, repr(section.key)]).encode()).hexdigest()[:12]
