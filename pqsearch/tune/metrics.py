"""A study's figures as metrics of Ray's, which each node exports for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ray.util.metrics import Gauge

from pqsearch.metric_names import METRICS, TAGS
from pqsearch.study_metrics import Meter

log = logging.getLogger(__name__)

#: How often figures are set, at most; Ray sends them on every ten seconds unless it is told otherwise.
EVERY_SECONDS = 1.0
#: Share of the time that reading them may take.
MOST_OF_TIME = 0.02


class Exported:
    """The gauges of one study. `name` is what the tag `study` says."""

    def __init__(self, name: str, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter, self._clock = meter, clock
        self._tags = {"study": name, **meter.tags}
        self._gauges = {
            name: Gauge(name, metric.meaning, (*TAGS, *([metric.tag] if metric.tag else [])))
            for name, metric in METRICS.items()
        }

    def update(self) -> float:
        """Set all gauges once; returns the seconds until the next time."""
        began = self._clock()
        for figure in self._meter.read():
            self._gauges[figure.name].set(figure.value, {**self._tags, **figure.tags})
        return max(EVERY_SECONDS, (self._clock() - began) / MOST_OF_TIME)

    async def keep_up(self) -> None:
        """Update for ever, beside whatever else the loop does: an evaluation costs nothing for it."""
        while True:
            try:
                pause = self.update()
            except Exception as error:
                # A view of the search must never cost it.
                log.warning("the metrics of Ray stopped: %s", error)
                return
            await asyncio.sleep(pause)
