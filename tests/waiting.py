"""Waiting for what another process is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Long enough for a busy machine to start nodes of a cluster, and a search on them.
MOST_SECONDS, LOOK_SECONDS = 900.0, 0.1


def until(condition: Callable[[], object]) -> None:
    """Returns as soon as `condition` holds. The test fails if it never does."""
    deadline = time.monotonic() + MOST_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(LOOK_SECONDS)
