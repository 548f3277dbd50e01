"""Where a worker writes: in the run directory, or in its machine's copy of one that is in a store."""

from __future__ import annotations

import time
from contextlib import suppress

from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory

#: How often what workers have written down is taken to the store.
PUSH_SECONDS = 30.0
#: Weights of rungs that a machine without the study keeps: nobody tells it which candidates have stopped. Those of one that goes on
#: after all are made again.
MOST_WEIGHTS = 64


class Workplace:
    """A worker's files. In a store they are called after the machine, too: a seat may move to another one, and files are written whole."""

    def __init__(self, run: RunDirectory, seat: str) -> None:
        """Brings what a worker needs. Raises `UserError` where the store does not give it."""
        self._run = run
        self._pushed = time.monotonic()
        run.bring(run.baseline.name)
        whose = seat if run.store is None else f"{seat}-{run.store.id()[:8]}"
        self.started = run.logs / f"started-{whose}.jsonl"
        self.hung = run.logs / f"hung-{whose}.log"

    def tidy(self, last: bool = False) -> None:
        """Now and then, and `last` when the worker ends: take the logs of this machine's workers to the store, and keep the scratch
        folder small. In a run directory that is a folder the study does that.
        """
        store = self._run.store
        if store is None or not (last or time.monotonic() - self._pushed >= PUSH_SECONDS):
            return
        self._pushed = time.monotonic()
        with suppress(UserError):  # there is a next time, and the logs are no results
            # Those of a worker that ended itself, too.
            store.push(lambda name: name.startswith(("logs/started-", "logs/hung-")))
        found = []
        for path in self._run.scratch.glob("*.pth"):
            with suppress(FileNotFoundError):  # another worker of this machine tidies, too
                found.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(found)[:-MOST_WEIGHTS]:
            path.unlink(missing_ok=True)
