"""What a worker does next, asked for shortly before it is needed: a worker waits for no study, and no study runs far ahead.

Knows neither Ray nor torch. An exchange hands results in and asks for items; it is begun at once and waited for later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pqsearch.plan import Item, Result
from pqsearch.study_fold import Key

#: Items are asked for by the batch where one takes less than this.
BATCH_SECONDS = 0.25
MOST_AT_ONCE = 64
#: Results wait at most so long for company.
RESULT_SECONDS = 0.25
#: How long before it runs dry a worker asks, in times of what an exchange takes, and at least.
LEAD = 2.0
FEWEST_LEAD_SECONDS = 0.05
#: Weight of the latest duration in the running mean.
LATEST = 0.3
#: Waiting for less than this is none.
NOTICED_SECONDS = 0.002

#: Begins an exchange of results, a number of items wanted, and the keys of items held; gives what waits for its answer.
Begin = Callable[[Sequence[Result], int, Sequence[Key]], Callable[[], Mapping[str, Any]]]


class Lane:
    """A worker's items and results. `current` is the one being evaluated."""

    def __init__(self, begin: Begin, clock: Callable[[], float]) -> None:
        self._begin, self._clock = begin, clock
        self._lock = threading.RLock()
        self._held: deque[Item] = deque()
        self._current: Item | None = None
        self._results: list[Result] = []
        self._reported = clock()
        self._answer: tuple[float, Callable[[], Mapping[str, Any]]] | None = None
        self._sent: list[Callable[[], Mapping[str, Any]]] = []
        self._timer: threading.Timer | None = None
        self._post: threading.Timer | None = None
        self._seconds: dict[int, float] = {}  # of one item, by rung
        self._latency = 0.0
        self.finished = False

    def next(self) -> Item | None:
        """The next item, None while there is none; the study may be `finished`."""
        with self._lock:
            if not self._held:
                if self._answer is None:
                    self._ask()
                self._receive()
            if not self._held:
                return None
            self._current = self._held.popleft()
            self._plan_ahead(self._current)
            return self._current

    def done(self, item: Item, result: Result, seconds: float) -> None:
        """An item was evaluated. Its result is on its way soon, and acknowledged before the lane is empty."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            before = self._seconds.get(item.rung, seconds)
            self._seconds[item.rung] = (1 - LATEST) * before + LATEST * seconds
            self._current = None
            self._results.append(result)
            if self._held or self._answer is not None:
                # Where the next item is at hand, or on its way, the result travels by itself.
                if self._clock() - self._reported >= RESULT_SECONDS:
                    self._send_results()
                elif self._post is None:
                    # What comes next may last for minutes, and a worker may be gone by then.
                    self._post = _begun(threading.Timer(RESULT_SECONDS, self._send_in_time))
            else:
                self._ask()

    def flush(self) -> None:
        """Hand all results in and wait until everything is acknowledged."""
        with self._lock:
            self._send_results()
            self._settle()
            if self._answer is not None:  # results may have gone with the question for more
                self._receive()

    def holding(self) -> list[Key]:
        """All that this worker is at or will be at, once everything else is acknowledged."""
        with self._lock:
            self.flush()
            return self._keys()

    def _plan_ahead(self, item: Item) -> None:
        """Ask when what is held will be done soon. Behind an item with another rung comes what the study decides then."""
        if self._answer is not None or not all(one.last for one in (item, *self._held)):
            return
        expected = [self._seconds.get(one.rung) for one in (item, *self._held)]
        if None in expected:
            return
        remaining = sum(seconds for seconds in expected if seconds is not None)
        delay = remaining - max(FEWEST_LEAD_SECONDS, LEAD * self._latency)
        if delay <= 0:
            self._ask()
        elif self._timer is None:
            self._timer = _begun(threading.Timer(delay, self._ask_in_time))

    def _ask_in_time(self) -> None:
        with self._lock:
            if self._answer is None and self._current is not None:
                self._ask()

    def _send_in_time(self) -> None:
        with self._lock, suppress(Exception):  # whoever empties the lane meets the same
            self._post = None
            self._send_results()

    def _ask(self) -> None:
        # A study that begins anew may hear calls in another order: asked before it knows these, it would hand them out again.
        self._settle()
        holding = self._keys()
        results, self._results = self._results, []
        self._reported = self._clock()
        self._answer = self._clock(), self._begin(results, self._number(), holding)

    def _keys(self) -> list[Key]:
        return [(item.id, item.repeat) for item in (self._current, *self._held) if item is not None]

    def _number(self) -> int:
        """Items worth asking for at once: those of a moment, by the slowest rung known."""
        slowest = max(self._seconds.values(), default=BATCH_SECONDS)
        return max(1, min(MOST_AT_ONCE, int(BATCH_SECONDS / max(slowest, 1e-9))))

    def _send_results(self) -> None:
        if self._results:
            self._settle()
            results, self._results = self._results, []
            self._reported = self._clock()
            self._sent = [self._begin(results, 0, [])]

    def _settle(self) -> None:
        """Results on their way are acknowledged, as a rule long since, or their loss is noticed here."""
        for answered in self._sent:
            answered()
        self._sent = []

    def _receive(self) -> None:
        assert self._answer is not None
        began, answered = self._answer
        waits = self._clock()
        answer, self._answer = answered(), None
        now = self._clock()
        # An answer that was there already only says that asking takes no longer than that.
        took = now - began if now - waits > NOTICED_SECONDS else min(self._latency, now - began)
        self._latency += LATEST * (took - self._latency)
        self.finished = answer["state"] == "finished"
        self._held.extend(answer["items"])


def _begun(timer: threading.Timer) -> threading.Timer:
    timer.daemon = True
    timer.start()
    return timer
