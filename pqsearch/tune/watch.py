"""Looks at a running search from beside it: tells the console, and notices when Ray is gone."""

from __future__ import annotations

import _thread
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

WATCH_SECONDS = 1.0
#: How long the study may take for an answer: it may be starting again.
ANSWER_SECONDS = 10.0
#: How long Ray may be away. Its own processes give up after a minute, without a word on the search.
LOST_SECONDS = 30.0
#: How long a study may be silent in a Ray that is there: where every core is busy, its process may begin anew for a minute and more.
SILENT_SECONDS = 300.0
#: How long what waits for the search may take to come back once it is interrupted.
BACK_SECONDS = 15.0


def ended(reason: str) -> str:
    """What a user is told of a search whose Ray is gone."""
    return f"Ray has ended under the search ({reason}); nothing finished is lost; the same command continues"


class Watcher(threading.Thread):
    """Use it as a context around what waits for the search. A study that has begun anew is told which `workers` run.

    `lost` says what is gone, once something is. Then whatever the main thread waits for is interrupted, if that is where the
    context began: Ray's own calls would wait for processes that do not come back. Where they cannot even be interrupted Ray
    would end this process in a moment; it ends here instead, with a line that says why.
    """

    def __init__(
        self, study: Any, progress: Callable[[dict[str, Any]], None], workers: Callable[[], Mapping[str, Any]]
    ) -> None:
        super().__init__(daemon=True)
        self._study, self._progress, self._workers = study, progress, workers
        self._epoch: int | None = None
        self._over = threading.Event()
        self._in_main = threading.current_thread() is threading.main_thread()
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._gcs = host, int(port)
        self.lost: str | None = None

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join(timeout=ANSWER_SECONDS)

    def run(self) -> None:
        since, before = time.monotonic(), None
        while not self._over.wait(WATCH_SECONDS):
            gone, patience = self._what_is_gone()
            if gone is None or gone != before:
                since, before = time.monotonic(), gone
            elif time.monotonic() - since > patience:
                self.lost = gone
                if self._in_main:
                    self._interrupt(gone)
                return

    def _interrupt(self, gone: str) -> None:
        _thread.interrupt_main()
        if not self._over.wait(BACK_SECONDS):
            print(f"pqsearch: {ended(gone)}", file=sys.stderr, flush=True)
            os._exit(1)

    def _what_is_gone(self) -> tuple[str | None, float]:
        """With the seconds it may be gone for."""
        gone, patience = None, LOST_SECONDS
        try:
            state = ray.get(self._study.progress.remote(), timeout=ANSWER_SECONDS)
        except Exception as error:  # it has ended for good, or Ray is ending; or it has much to do, or begins anew
            gone = "the study does not answer"
            patience = SILENT_SECONDS if isinstance(error, ray.exceptions.GetTimeoutError) else LOST_SECONDS
        else:
            if state["epoch"] != self._epoch:
                self._epoch = state["epoch"]
                self._study.expect.remote(dict(self._workers()))
            self._progress({**state, "stage": "search"})
        if not self.ray_answers():
            return "Ray's control service does not answer", LOST_SECONDS
        return gone, patience

    def ray_answers(self) -> bool:
        """Whether Ray's control service is there."""
        try:
            socket.create_connection(self._gcs, timeout=ANSWER_SECONDS).close()
        except OSError:
            return False
        return True
