"""An evaluation that hangs ends its process: nothing else gets a thread out of a library that never returns."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pqsearch.plan import Item

#: How long the polite way may take: it needs the interpreter, which a hung library may hold.
GRACE_SECONDS = 10.0
#: Exit code of a worker that ended itself.
HUNG = 75


class TimeLimits:
    """Watches evaluations by their rung's limit, None for none. What a hung one was doing is written to `log`."""

    def __init__(self, seconds: Sequence[float | None], log: Path) -> None:
        self._seconds, self._log = seconds, log

    @contextmanager
    def watch(self, item: Item, tell: Callable[[Item, float], None]) -> Iterator[None]:
        """Past the limit: `tell` whose fault it was, then end the process; without a word if that takes too long as well."""
        limit = self._seconds[item.rung] if item.id >= 0 else None
        if limit is None:
            yield
            return

        def end() -> None:
            tell(item, limit)
            os._exit(HUNG)

        timer = threading.Timer(limit, end)
        timer.daemon = True
        with self._log.open("w") as log:
            faulthandler.dump_traceback_later(limit + GRACE_SECONDS, exit=True, file=log)
            timer.start()
            try:
                yield
            finally:
                timer.cancel()
                faulthandler.cancel_dump_traceback_later()
