"""The study actor: owns the study and the journal's lock; everything else asks it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pqsearch.heartbeats import LOOKS, Heartbeats
from pqsearch.journal.optuna_mirror import Mirror
from pqsearch.open_study import OpenedStudy, open_study
from pqsearch.plan import ModelInfo, Result
from pqsearch.problem import Finished, Wait
from pqsearch.run_dir import RunDirectory
from pqsearch.settling import Settling
from pqsearch.spec import Spec, parse_spec
from pqsearch.study import Answer, Call, Study
from pqsearch.study_fold import Key
from pqsearch.study_metrics import Meter
from pqsearch.tune.metrics import Exported

log = logging.getLogger(__name__)

#: How often the study begins anew. Where memory is short Ray ends the youngest process, and that one again and again.
MOST_RESTARTS = 20
#: How often to look whether workers are still at something.
WIND_UP_LOOK_SECONDS = 0.05
#: Candidates that the mirror is given at once, and how long it rests after them, in times of what they took: it shares an interpreter
#: with the study, and may lag where that has much to do.
MOST_FOLLOWED, MIRROR_RESTS = 10, 4.0


class StudyService:
    """A `Study` behind plain calls. Items and results cross as values of `pqsearch.plan`."""

    def __init__(self, spec: dict[str, Any], run: RunDirectory, info: dict[str, Any], baseline: str) -> None:
        self._run = run
        self._arguments = (parse_spec(spec), self._run, ModelInfo.from_json(info), baseline)
        self._opened: OpenedStudy | None = None
        self._mirror: Mirror | None = None
        self._calls: list[tuple[Call, asyncio.Future[Answer]]] = []
        self._following: asyncio.Task[None] | None = None
        self._followed = 0
        self._rests = MIRROR_RESTS
        self._beats = Heartbeats(self._arguments[0].workers.silence_seconds, time.monotonic)
        self._workers: dict[str, Any] = {}  # actors by seat, to end those that are silent
        self._watching: asyncio.Task[None] | None = None
        self._exporting: asyncio.Task[None] | None = None
        self._settling = Settling()

    @property
    def _study(self) -> Study:
        """Opened on first use, not in the constructor: what goes wrong then reaches the caller as it is."""
        if self._opened is None:
            self._opened = open_study(*self._arguments)
            if ray.get_runtime_context().was_current_actor_reconstructed:
                self._opened.study.resume()
            self._mirror = self._opened.mirror
            exported = Exported(self._arguments[0].study.name, Meter(self._opened.study, time.monotonic))
            self._exporting = asyncio.get_running_loop().create_task(exported.keep_up())
        return self._opened.study

    async def join(self, seat: str, incarnation: str, capacity: dict[str, Any]) -> None:
        self._study.join(seat, incarnation, capacity)

    async def exchange(
        self, seat: str, results: list[Result], number: int, holding: list[Key], shares: str | None
    ) -> dict[str, Any]:
        """`{"state": "items" | "wait" | "finished", "items": [...]}`, once what was handed in is on disk.

        Callers that arrive while others are served are served together: one commit for all.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._calls.append((Call(seat, results, number, holding, shares), answer))
        if len(self._calls) == 1:
            asyncio.get_running_loop().call_soon(self._serve)
        found = await answer
        if isinstance(found, Wait):
            return {"state": "wait", "items": []}
        if isinstance(found, Finished) or self._study.aborted:
            return {"state": "finished", "items": []}
        return {"state": "items", "items": found}

    def _serve(self) -> None:
        waiting, self._calls = self._calls, []
        try:
            answers = self._study.exchange([call for call, _ in waiting])
        except Exception as error:
            for _, answer in waiting:
                answer.set_exception(error)
            return
        for (_, answer), found in zip(waiting, answers, strict=True):
            answer.set_result(found)
        for call, _ in waiting:
            for result in call.results:
                self._clean(result)
        self._settling.note(self._study.state.done)
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow())

    async def fail(self, seat: str, id: int, reason: str, repeat: int) -> None:
        self._study.fail(seat, id, reason, repeat)

    async def beat(self, seat: str, incarnation: str, worker: Any, shares: str | None, seated: bool) -> int | None:
        """A sign of life, also from a worker that still loads its data. The study's epoch, by which a worker knows that the
        study has begun anew; None tells it that it was given up.
        """
        if seated and not self._study.beat(seat, incarnation, shares):
            return None
        self._watch(seat, worker)
        return self._study.state.epoch

    async def claim(self, epoch: int, seat: str, incarnation: str, holding: list[Key]) -> None:
        """What a worker held when it noticed that epoch; sent again to a later one it says nothing."""
        if epoch == self._study.state.epoch:
            self._study.claim(seat, incarnation, holding)

    async def expect(self, workers: Mapping[str, Any]) -> None:
        """Workers that run, by seat: a study that has begun anew must notice also those of them that never speak again."""
        self._study.expect(workers.keys())
        for seat, worker in workers.items():
            if seat not in self._beats:
                self._watch(seat, worker)

    def _watch(self, seat: str, worker: Any) -> None:
        self._beats.hear(seat)
        self._workers[seat] = worker
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._give_up_the_silent())

    async def _give_up_the_silent(self) -> None:
        while True:
            await asyncio.sleep(self._beats.seconds / LOOKS)
            for seat in self._beats.silent():
                self._study.give_up(seat, f"gave no sign of life for {self._beats.seconds:g} s")
                # Ray ends its process, a stopped one too, and Tune, which notices, starts another.
                ray.kill(self._workers.pop(seat))

    async def leave(self, seat: str, incarnation: str | None, reason: str, died: bool = False) -> None:
        self._study.leave(seat, incarnation, reason, died)
        self._beats.forget(seat)
        self._workers.pop(seat, None)  # Ray keeps an actor as long as anybody knows it

    async def setup_failed(self, seat: str, reason: str) -> None:
        self._study.setup_failed(seat, reason)

    async def stumbled(self, seat: str, incarnation: str, reason: str) -> None:
        self._study.stumbled(seat, incarnation, reason)

    async def broke(self, seat: str, incarnation: str, reason: str) -> None:
        self._study.broke(seat, incarnation, reason)

    async def progress(self) -> dict[str, Any]:
        state = self._study.state
        return {
            **self._study.progress(),
            "aborted": self._study.aborted,
            "finished": state.finished,
            "epoch": state.epoch,
        }

    async def wind_up(self, seconds: float) -> None:
        """Hand out nothing more; back once workers have brought what they were at, or after so many seconds."""
        self._study.wind_up()
        deadline = time.monotonic() + seconds
        while self._study.load().busy and time.monotonic() < deadline:
            await asyncio.sleep(WIND_UP_LOOK_SECONDS)

    async def close(self) -> None:
        """Bring the mirror up to date and give the lock back."""
        if self._opened is None:
            return
        if self._exporting is not None:
            self._exporting.cancel()
        self._rests = 0.0
        if self._following is not None:
            await self._following
        await self._follow()
        if self._mirror is not None:
            # Whoever still pauses on a rung stays there.
            self._add_to_mirror(self._mirror, [self._study.state.row(id) for id, _ in self._study.state.paused])
        self._opened.close()

    def _clean(self, result: Result) -> None:
        """Weights of rungs that a candidate has climbed past, or stopped on, are never read again."""
        task = self._study.state.tasks.get((result.id, result.repeat))
        if task is None or task.finished:
            for path in self._run.scratch.glob(f"{result.id}-{result.repeat}-*.pth"):
                path.unlink(missing_ok=True)

    async def _follow(self) -> None:
        """Bring the mirror up to date beside the search, some candidates at a time; without rests once that is over."""
        ended = self._study.state.ended
        while self._mirror is not None and self._followed < len(ended):
            ids = ended[self._followed : self._followed + MOST_FOLLOWED]
            self._followed += len(ids)
            # Those that pause may go on: an Optuna trial ends once.
            rows = [self._study.state.row(id) for id in ids if (id, 0) not in self._study.state.paused]
            began = time.monotonic()
            await asyncio.to_thread(self._add_to_mirror, self._mirror, rows)
            await asyncio.sleep(self._rests * (time.monotonic() - began))
        self._following = None

    def _add_to_mirror(self, mirror: Mirror, rows: list[dict[str, Any]]) -> None:
        try:
            mirror.follow(rows)
        except Exception as error:
            # The mirror is a view; losing it must never cost a search.
            log.warning("the Optuna mirror stopped: %s", error)
            self._mirror = None


def name_of(spec: Spec) -> str:
    """What a study's actor is called in Ray: two studies may have the same name, and a study may be run twice."""
    return f"{spec.study.name}/study-{uuid.uuid4().hex[:12]}"


def start(name: str, spec: dict[str, Any], run: RunDirectory, info: dict[str, Any], baseline: str) -> Any:
    """Start the actor under `name`. It restarts by replaying its journal; calls in flight are sent again.

    It lives on the node of the process that waits for the search: the end of another node takes workers, never the study.
    """
    # Not soft: what asks for no resources Ray would then put anywhere.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote = ray.remote(num_cpus=0, max_restarts=MOST_RESTARTS, max_task_retries=-1)(StudyService)
    return remote.options(name=name, scheduling_strategy=here).remote(spec, run, info, baseline)
