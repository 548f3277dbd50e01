"""The study actor: owns the study and the journal's lock; everything else asks it."""

from __future__ import annotations

import logging
from typing import Any

import ray

from pqsearch.journal.optuna_mirror import Mirror
from pqsearch.open_study import OpenedStudy, open_study
from pqsearch.plan import ModelInfo, Result
from pqsearch.problem import Finished, Wait
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec
from pqsearch.study import Study

log = logging.getLogger(__name__)


class StudyService:
    """A `Study` behind plain calls. Items and results cross as values of `pqsearch.plan`."""

    def __init__(self, spec: dict[str, Any], run: RunDirectory, info: dict[str, Any], baseline: str) -> None:
        self._run = run
        self._arguments = (parse_spec(spec), self._run, ModelInfo.from_json(info), baseline)
        self._opened: OpenedStudy | None = None
        self._mirror: Mirror | None = None

    @property
    def _study(self) -> Study:
        """Opened on first use, not in the constructor: what goes wrong then reaches the caller as it is."""
        if self._opened is None:
            self._opened = open_study(*self._arguments)
            self._mirror = self._opened.mirror
        return self._opened.study

    def join(self, seat: str, incarnation: str, capacity: dict[str, Any]) -> None:
        self._study.join(seat, incarnation, capacity)

    def ask(self, seat: str, number: int = 1) -> dict[str, Any]:
        """`{"state": "items" | "wait" | "finished", "items": [...]}`."""
        answer = self._study.ask(seat, number)
        if isinstance(answer, Wait):
            return {"state": "wait", "items": []}
        if isinstance(answer, Finished) or self._study.aborted:
            return {"state": "finished", "items": []}
        return {"state": "items", "items": answer}

    def report(self, seat: str, results: list[Result]) -> None:
        self._study.report(seat, results)
        for result in results:
            self._clean(result)
        self._follow()

    def beat(self, seat: str) -> None:
        self._study.beat(seat)

    def leave(self, seat: str, incarnation: str | None, reason: str, died: bool = False) -> None:
        self._study.leave(seat, incarnation, reason, died)

    def setup_failed(self, seat: str, reason: str) -> None:
        self._study.setup_failed(seat, reason)

    def progress(self) -> dict[str, Any]:
        return {**self._study.progress(), "aborted": self._study.aborted, "finished": self._study.finished}

    def close(self) -> None:
        """Flush the mirror and give the lock back."""
        self._follow()
        if self._opened is not None:
            self._opened.close()

    def _clean(self, result: Result) -> None:
        """Weights of rungs that a candidate has climbed past are never read again."""
        if result.weights is None:
            for path in self._run.scratch.glob(f"{result.id}-{result.repeat}-*.pth"):
                path.unlink(missing_ok=True)

    def _follow(self) -> None:
        if self._mirror is None:
            return
        try:
            self._mirror.follow(self._study.candidates())
        except Exception as error:
            # The mirror is a view; losing it must never cost a search.
            log.warning("the Optuna mirror stopped: %s", error)
            self._mirror = None


def start(name: str, spec: dict[str, Any], run: RunDirectory, info: dict[str, Any], baseline: str) -> Any:
    """Start the actor under `name`. It restarts by replaying its journal; calls in flight are sent again."""
    remote = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3)(StudyService)
    return remote.options(name=name).remote(spec, run, info, baseline)
