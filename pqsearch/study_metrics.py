"""The figures of a running study for a monitoring system, in the time of one look whatever the study's size. No Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pqsearch.metric_names import METRICS
from pqsearch.study import Load, Study

#: Rates are means over so long.
WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Figure:
    """The value of a metric (`pqsearch.metric_names`) and of its own tag, where it has one."""

    name: str
    value: float
    tag: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        key = METRICS[self.name].tag
        return {} if key is None or self.tag is None else {key: self.tag}


@dataclass(frozen=True)
class _Sample:
    time: float
    done: int
    load: Load


class Meter:
    """Reads a study's figures; meant to be asked at even intervals. `clock` is in seconds and never goes back."""

    def __init__(self, study: Study, clock: Callable[[], float]) -> None:
        self._study, self._clock = study, clock
        self._samples: deque[_Sample] = deque()
        self._seen = (0, 0, 0)  # of what may make another candidate the best, how much there was
        self._best: int | None = None

    @property
    def tags(self) -> dict[str, str]:
        """The algorithm; the study's name is not the study's business."""
        return {"algorithm": str(self._study.state.settings["algorithm"]["name"])}

    def read(self) -> list[Figure]:
        """All figures. Of a best plan there are none while there is none."""
        return [*self._progress(), *self._rungs(), *self._leader()]

    def _progress(self) -> Iterator[Figure]:
        state = self._study.state
        (done, planned), load = state.reckoning(), self._study.load()
        self._sample(done, load)
        first, last = self._samples[0], self._samples[-1]
        seconds = last.time - first.time
        workers = sum(sample.load.workers for sample in self._samples)
        yield Figure("pqsearch_evaluations", done)
        yield Figure("pqsearch_evaluations_planned", planned)
        yield Figure("pqsearch_evaluations_per_second", (last.done - first.done) / seconds if seconds > 0 else 0.0)
        yield Figure("pqsearch_worker_seconds", state.worker_seconds)
        yield Figure("pqsearch_workers", load.workers)
        busy = sum(min(sample.load.busy, sample.load.workers) for sample in self._samples)
        yield Figure("pqsearch_busy_ratio", busy / workers if workers else 0.0)
        yield Figure("pqsearch_running", load.running)
        yield Figure("pqsearch_queue", max(0, len(state.open) - load.running))
        yield Figure("pqsearch_failures", state.counts["failed"])
        yield Figure("pqsearch_halted", state.counts["stopped"])
        yield Figure("pqsearch_cache_hits", state.counts["same"])

    def _rungs(self) -> Iterator[Figure]:
        state = self._study.state
        top = state.settings["rungs"] - 1
        for rung in range(top):
            yield Figure("pqsearch_measured", len(state.rungs.get(rung, ())), str(rung))
            yield Figure("pqsearch_promotions", state.promotions[rung], str(rung))
        yield Figure("pqsearch_measured", state.counts["done"], str(top))

    def _leader(self) -> Iterator[Figure]:
        state = self._study.state
        for budget, limit in self._limits().items():
            yield Figure("pqsearch_budget_limit", limit, budget)
        id = self._find_best()
        if id is None:
            return
        score = state.settings["objectives"][0]
        value = state.scores[id]
        yield Figure("pqsearch_best_score", 1 - value if score == "accuracy" else value, score)
        measured = state.last_rung(id)
        yield Figure("pqsearch_best_accuracy", sum(entry["accuracy"] for entry in measured) / len(measured))
        for budget, cost in state.by_id[id].costs.items():
            yield Figure("pqsearch_best_cost", cost, budget)

    def _limits(self) -> dict[str, float]:
        state = self._study.state
        limits: dict[str, float] = dict(state.settings["budgets"])
        target: dict[str, Any] | None = state.settings.get("target")
        if target is not None and state.moves:
            limits[target["minimize"]] = state.moves[-1]
        return limits

    def _find_best(self) -> int | None:
        """The study's best candidate. Only where plans are measured again, or a target ranks them, all are looked at for it, and
        only when one has ended since.
        """
        state = self._study.state
        before, self._seen = self._seen, (len(state.ended), state.repeats_done, state.repeats)
        if before == self._seen:
            return self._best
        if state.settings.get("target") is not None or state.repeats:
            row = state.best()
            self._best = row["id"] if row is not None else None
        else:
            known = [*([] if self._best is None else [self._best]), *state.ended[before[0] :]]
            able = [id for id in known if id in state.scores and id not in state.over]
            self._best = min(able, key=lambda id: (state.scores[id], id), default=None)
        return self._best

    def _sample(self, done: int, load: Load) -> None:
        self._samples.append(_Sample(self._clock(), done, load))
        while self._samples[-1].time - self._samples[0].time > WINDOW_SECONDS:
            self._samples.popleft()
