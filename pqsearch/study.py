"""The study: space, algorithm, journal and rungs, asked by workers. No Ray, no torch, the clock comes in from outside."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from pqsearch.errors import UserError
from pqsearch.journal.file import read_events
from pqsearch.journal.place import Journal, Place
from pqsearch.journal.record import Event
from pqsearch.plan import Item, Plan, Result
from pqsearch.probing import Probing
from pqsearch.problem import Algorithm, Finished, Genes, Prior, Problem, Proposal, Wait
from pqsearch.settings import Settings
from pqsearch.study_events import asked, check_fingerprint, failed, moved, probed, reported
from pqsearch.study_state import COMPARED, StudyState, Task
from pqsearch.telling import Mover, Telling

#: Set-ups of one seat that may fail in a row before the search gives up with the reason.
MOST_SETUPS = 3
#: Workers a candidate may take down before it counts as failed.
MOST_DEATHS = 2
#: Proposals in a row that were all evaluated before: the algorithm has nothing new.
MOST_DUPLICATES = 200
#: Results before a target moves its budget again.
MOVE_AFTER = 8
#: Duplicates looked through in one call, so that no call takes long.
DUPLICATES_PER_ASK = 20


class Study:
    """Answers workers: which item is next, what came of it.

    State changes through journal events only: they are committed first, then folded in, live as on replay. Replay never
    calls the algorithm's `ask`, so the next suggestions are those of a search that was never interrupted.
    """

    def __init__(
        self,
        problem: Problem,
        decode: Callable[[Genes], Plan],
        describe_costs: Callable[[Plan], dict[str, float]],
        algorithm: Callable[[Prior | None], Algorithm],
        journal: Journal,
        settings: Settings,
        clock: Callable[[], float],
        *,
        events: Sequence[Event] = (),
        seeds: Sequence[Proposal] = (),
        probing: Probing | None = None,
        informed_seeds: Callable[[Prior], Sequence[Proposal]] = lambda prior: (),
        target: Mover | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self._problem, self._decode, self._describe_costs = problem, decode, describe_costs
        self._journal, self._settings, self._clock = journal, settings, clock
        self._seeds, self._informed_seeds, self._target = list(seeds), informed_seeds, target
        self._state = StudyState()
        self._told = Telling(algorithm, self._state, settings, target)
        self._leases: dict[tuple[int, int], str] = {}
        self._seats: dict[str, str] = {}
        self._setups: dict[str, list[str]] = {}
        self.aborted: str | None = None
        wanted = json.loads(json.dumps(dict(fingerprint or {})))  # as it reads back from the journal
        if events:
            check_fingerprint(journal.where, events, wanted)
        for event in events:
            self._fold(event)
        self._commit(
            {
                "type": "opened",
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "versions": dict(versions or {}),
                "settings": asdict(settings),
                "fingerprint": wanted,
            }
        )
        if probing is not None and self._state.probing is None:
            self._commit(probing.event())

    # What workers call

    def join(self, seat: str, incarnation: str, capacity: Mapping[str, Any]) -> None:
        """A worker sits down. A new incarnation of a seat frees what the old one held."""
        if self._seats.get(seat) not in (None, incarnation):
            self.leave(seat, None, "another worker took its seat", died=True)
        self._seats[seat] = incarnation

    def ask(self, seat: str, number: int = 1) -> list[Item] | Wait | Finished:
        """Up to `number` items: first what this seat holds, then what a crash left behind, then new candidates."""
        if self.aborted or self._state.finished:
            return Finished()
        mine = [self._state.tasks[key] for key, holder in self._leases.items() if holder == seat][:number]
        mine += self._lease(seat, number - len(mine))
        if (len(mine) < number or self._settings.generation) and self._may_propose():
            self._propose(number - len(mine))
            if self.aborted:
                return Finished()
            mine += self._lease(seat, number - len(mine))
        if mine:
            return [self._item(task) for task in mine]
        self._advance()
        return Finished() if self._state.finished else Wait()

    def beat(self, seat: str) -> None:
        """A sign of life from a worker that waits."""

    def report(self, seat: str, results: Sequence[Result]) -> None:
        """Take finished rungs in. Idempotent: what was acknowledged before is ignored."""
        events: list[Event] = []
        expected: dict[tuple[int, int], int | None] = {}  # the rung that comes next, None once a task has failed
        for result in results:
            key = result.id, result.repeat
            task = self._state.tasks.get(key)
            if task is None or task.finished or result.rung != expected.get(key, task.rung):
                continue
            event = (reported if result.id >= 0 else probed)(seat, result, task)
            expected[key] = result.rung + 1 if event["type"] == "reported" and not self._is_last(result.rung) else None
            events.append(event)
        self._commit(*events)
        for event in events:
            task = self._state.tasks[event["id"], event["repeat"]]
            if task.finished:
                self._leases.pop((task.id, task.repeat), None)
        if events:
            self._setups.pop(seat, None)

    def fail(self, seat: str, id: int, reason: str, repeat: int = 0) -> None:
        """A candidate could not be evaluated, for a reason of its own."""
        task = self._state.tasks.get((id, repeat))
        if task is not None and not task.finished:
            self._commit(failed(task, seat, reason))
            self._setups.pop(seat, None)
        self._leases.pop((id, repeat), None)

    def leave(self, seat: str, incarnation: str | None, reason: str, died: bool = False) -> None:
        """A worker is gone; its items go back to the front of the queue and resume at their rung."""
        known = self._seats.get(seat)
        if incarnation is not None and incarnation != known:
            return
        if died and known is None:
            # It never sat down: a set-up that failed, which the worker may have told already.
            noted = self._setups.setdefault(seat, [])
            if noted and noted[-1].startswith("told: "):
                noted[-1] = noted[-1].removeprefix("told: ")
            else:
                self._count_setup(seat, reason)
        self._seats.pop(seat, None)
        for key in [key for key, holder in self._leases.items() if holder == seat]:
            del self._leases[key]
            task = self._state.tasks[key]
            if died and task.deaths + 1 >= MOST_DEATHS:
                self._commit(failed(task, seat, f"took down {MOST_DEATHS} workers, the last one: {reason}"))
            elif died:
                self._commit({"type": "died", "id": task.id, "repeat": task.repeat, "worker": seat, "reason": reason})

    def setup_failed(self, seat: str, reason: str) -> None:
        """A worker could not load its data or baseline. Three times in a row stop the search with the reason."""
        self._count_setup(seat, f"told: {reason}")

    def _count_setup(self, seat: str, reason: str) -> None:
        noted = self._setups.setdefault(seat, [])
        noted.append(reason)
        if len(noted) >= MOST_SETUPS:
            self.aborted = f"{seat} could not start {len(noted)} times: {reason.removeprefix('told: ')}"

    # What a user looks at

    @property
    def state(self) -> StudyState:
        """Everything the journal holds, for reading."""
        return self._state

    @property
    def finished(self) -> bool:
        return self._state.finished

    def progress(self) -> dict[str, Any]:
        """Where the search stands: done, total, running, best, rate, ETA."""
        return self._state.progress(len(self._leases), len(self._seats), self._clock())

    def candidates(self) -> list[dict[str, Any]]:
        """Every candidate as plain values, in the order asked."""
        return self._state.candidates()

    def best(self, role: str | None = None) -> dict[str, Any] | None:
        """The best candidate (of a role, such as "uniform"), None if none is done."""
        return self._state.best(role)

    def leading(self, number: int) -> list[dict[str, Any]]:
        """The best candidates, by the mean of their measurements; confirmed ones first."""
        return self._state.leading(number)

    # Inside

    def _fold(self, event: Event) -> None:
        self._state.apply(event)
        if event["type"] == "moved":
            assert self._target is not None
            self._problem = self._target.at(event["limit"])
            self._told.move(event["limit"])
        elif event["type"] not in ("probed", "failed") or event["id"] >= 0:
            self._told.see(event)
        elif self._state.informed:
            self._inform()

    def _inform(self) -> None:
        """All is found out that is found out before the algorithm begins."""
        prior = self._state.prior
        if prior is not None:
            self._seeds += self._informed_seeds(prior)
            self._told.inform(prior)

    def _commit(self, *events: Event) -> None:
        if events:
            for event in self._journal.append(events):
                try:
                    self._fold(event)
                except UserError as error:
                    self.aborted = str(error)

    def _lease(self, seat: str, number: int) -> list[Task]:
        """Up to `number` tasks that wait, oldest first, handed to a seat."""
        if number <= 0 or self._state.stopped == "hours":
            return []
        waiting = [task for task in self._state.unfinished() if (task.id, task.repeat) not in self._leases]
        if waiting and self._out_of_time():
            return []
        for task in waiting[:number]:
            self._leases[task.id, task.repeat] = seat
        return waiting[:number]

    def _out_of_time(self) -> bool:
        """Whether the hours are over; what was begun is then finished, and nothing else begins."""
        hours = self._settings.hours
        if hours is None or self._state.seconds(self._clock()) < hours * 3600:
            return False
        if self._state.stopped != "hours":
            self._commit({"type": "stopped", "reason": "hours"})
        return True

    def _may_propose(self) -> bool:
        if self._state.stopped is not None or self._out_of_time():
            return False
        if self._state.evaluations >= self._settings.evaluations:
            self._commit({"type": "stopped", "reason": "evaluations"})
        return self._state.stopped is None

    def _propose(self, number: int) -> None:
        if self._settings.generation is not None:
            # What a crash left of a generation is filled up.
            number = self._settings.generation - self._told.members
        wanted = min(number, self._settings.evaluations - self._state.evaluations)
        for _ in range(DUPLICATES_PER_ASK):
            if self._state.duplicates_in_a_row >= MOST_DUPLICATES and self._state.stopped is None:
                self._commit({"type": "stopped", "reason": "exhausted"})
            if wanted <= 0 or self._state.stopped is not None or self.aborted or not self._moved():
                return
            first = len(self._state.by_id)
            try:
                proposals = self._given(first, wanted) or self._ask(range(first, first + wanted))
            except UserError as error:  # a user's own algorithm that breaks the contract
                self.aborted = str(error)
                return
            if isinstance(proposals, Finished):
                self._commit({"type": "stopped", "reason": "algorithm finished"})
                return
            if isinstance(proposals, Wait) or not proposals:
                if not self._state.unfinished():
                    # Nobody owes it a result: it would wait for ever.
                    self._commit({"type": "stopped", "reason": "algorithm waits in vain"})
                return
            before = self._state.evaluations
            hashes = dict(self._state.by_hash)
            self._commit(
                *(self._asked(id, proposal, hashes) for id, proposal in enumerate(proposals[:wanted], start=first))
            )
            wanted -= self._state.evaluations - before

    def _ask(self, ids: range) -> list[Proposal] | Wait | Finished:
        return self._told.algorithm.ask(ids) if self._state.informed else Wait()

    def _given(self, first: int, number: int) -> list[Proposal]:
        """Seeds that are left, then the plan that a target's move asks for."""
        seeds = self._seeds[first : first + number]
        if seeds or self._state.solved is None:
            return seeds
        return [Proposal(self._state.solved, {"role": "solved"}, exact=True)]

    def _moved(self) -> bool:
        """Move a target's budget where it is time to; False where nothing is to be asked now: the seeds' results are awaited, or
        the search is over.
        """
        state = self._state
        if self._target is None or not state.informed or len(state.by_id) < len(self._seeds):
            return True
        doubtful = self._target.doubtful(state)
        if doubtful is not None:
            self._commit({"type": "again", "id": doubtful, "repeats": self._settings.confirm_repeats})
        if state.moves:
            # Where the algorithm finds nothing new there is nothing to wait for.
            early = state.done - state.done_at_move < MOVE_AFTER and state.duplicates_in_a_row < DUPLICATES_PER_ASK
            if state.solved is not None or early:
                return True
        elif state.unfinished():
            return False
        move = self._target.next(state)
        if isinstance(move, str):
            self._commit({"type": "stopped", "reason": move})
            return False
        if move is not None:
            self._commit(moved(move.limit, move.genes))
        return True

    def _asked(self, id: int, proposal: Proposal, hashes: dict[str, int]) -> Event:
        genes = proposal.genes
        if not proposal.exact:
            genes = tuple(map(int, self._problem.repair(np.array([genes]))[0]))
        plan = self._decode(genes)
        same_as = hashes.get(plan.hash)
        hashes.setdefault(plan.hash, id)
        return asked(id, genes, proposal.memo, plan, self._describe_costs(plan), same_as)

    def _advance(self) -> None:
        """Nothing to hand out: begin to confirm, or finish, once nobody works any more."""
        state = self._state
        if self._leases or state.stopped is None:
            return
        out_of_time = state.stopped == "hours"
        settings = self._settings
        if (settings.confirm or settings.retest) and not state.confirming and not out_of_time:
            try:
                ids = self._worth_confirming() if settings.confirm else []
            except UserError as error:  # as above: it has a view of its own that is none
                self.aborted = str(error)
                return
            retested = state.spread(settings.retest) if settings.retest else []
            if ids or retested:
                self._commit({"type": "confirm", "ids": ids, "repeats": settings.confirm_repeats, "retested": retested})
                return
        if out_of_time or not state.unfinished():
            self._commit({"type": "finished"})

    def _worth_confirming(self) -> list[int]:
        """The leaders, by turns as the algorithm sees them and by score, and the best of each role that they will be compared with."""
        number = self._settings.confirm
        ids = [row["id"] for row in self._state.leading(number)]
        if self._target is None:
            in_turn = zip_longest(self._told.leading(number), ids)
            ids = [id for id in dict.fromkeys(chain.from_iterable(in_turn)) if id is not None][:number]
        for role in COMPARED:
            found = self._state.best(role)
            if found is not None and found["id"] not in ids:
                ids.append(found["id"])
        return ids

    def _item(self, task: Task) -> Item:
        if task.id < 0:
            return self._probe(task)
        candidate = self._state.by_id[task.id]
        return Item(
            id=task.id,
            kind="confirm" if task.repeat else "candidate",
            plan=Plan.from_json(candidate.plan),
            rung=task.rung,
            repeat=task.repeat,
            start=task.start,
            last=self._is_last(task.rung),
        )

    def _probe(self, task: Task) -> Item:
        probing = self._state.probing
        assert probing is not None
        plan = self._decode(probing.genes(task.id))
        if probing.source == "table":
            return Item(task.id, "probe", plan, rung=0)
        return Item(task.id, "gradients", plan, rung=0, changes=tuple(probe.change for probe in probing.probes))

    def _is_last(self, rung: int) -> bool:
        return rung == self._settings.rungs - 1


def read_study(journal: Place | Path) -> StudyState:
    """A study from its journal alone, for looking at: no lock, no algorithm; someone else may be writing it."""
    return StudyState(read_events(journal) if isinstance(journal, Path) else journal.read_events())
