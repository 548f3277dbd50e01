"""The study: space, algorithm, journal and rungs, asked by workers. No Ray, no torch, the clock comes in from outside."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pqsearch.asking import Searched, asked_events, not_asked
from pqsearch.confirming import worth_confirming
from pqsearch.errors import UserError
from pqsearch.halving import Halving
from pqsearch.journal.file import read_events
from pqsearch.journal.place import Journal, Place
from pqsearch.journal.record import Event
from pqsearch.leases import Leases
from pqsearch.plan import Item, Result
from pqsearch.probing import Probing
from pqsearch.problem import Algorithm, Finished, Genes, Prior, Problem, Proposal, Wait
from pqsearch.seats import Seats
from pqsearch.settings import Settings
from pqsearch.study_events import check_fingerprint, crowded, failed, moved, probed, reported, worker_died
from pqsearch.study_fold import Key, Point, Task
from pqsearch.study_state import StudyState
from pqsearch.telling import Mover, Telling

#: Workers a candidate may take down before it counts as failed.
MOST_DEATHS = 2
#: Proposals in a row that were all evaluated before: the algorithm has nothing new.
MOST_DUPLICATES = 200
#: Results before a target moves its budget again.
MOVE_AFTER = 8
#: Duplicates looked through in one call, so that no call takes long.
DUPLICATES_PER_ASK = 20
#: For so many seats one candidate is proposed ahead: proposals made together cost a fraction of as many single ones. Twice as
#: many where there are many seats, who cannot be kept busy but by cheap proposals.
SEATS_PER_AHEAD, MANY_SEATS = 8, 256


@dataclass(frozen=True)
class Call:
    """A seat, which `shares` that GPU, hands in results and asks for up to `number` items beside those it is `holding`."""

    seat: str
    results: Sequence[Result] = ()
    number: int = 0
    holding: Sequence[Key] = ()
    shares: str | None = None


@dataclass(frozen=True)
class Load:
    """Workers that sit, those of them that hold items, and the items that they hold."""

    workers: int
    busy: int
    running: int


Answer = list[Item] | Wait | Finished


class Study:
    """Answers workers: which item is next, what came of it.

    State changes through journal events only: they are committed first, then folded in, live as on replay. Replay never
    calls the algorithm's `ask`, so the next suggestions are those of a search that was never interrupted.
    """

    def __init__(
        self,
        space: Searched,
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
        self._space, self._journal, self._settings, self._clock = space, journal, settings, clock
        self._problem: Problem = space
        self._seeds, self._informed_seeds, self._target = list(seeds), informed_seeds, target
        self._state = StudyState()
        self._told = Telling(algorithm, self._state, settings, target)
        self._leases = Leases(self._state)
        self._halving = Halving(settings, self._state)
        self._seats = Seats()
        self._no_more = False  # the algorithm has nothing to propose under a target's present limit
        self._winding_up = False
        self.aborted: str | None = None
        wanted = json.loads(json.dumps(dict(fingerprint or {})))  # as it reads back from the journal
        if events:
            check_fingerprint(journal.where, events, wanted)
        for event in events:
            self._fold(event)
        self._seeds = not_asked(self._seeds, self._problem, self._state)
        self._commit(
            {
                "type": "opened",
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "versions": dict(versions or {}),
                "settings": asdict(settings),
                "knobs": space.table.to_json(),
                "fingerprint": wanted,
            }
        )
        if self.aborted:
            raise UserError(self.aborted)
        if probing is not None and self._state.probing is None:
            self._commit(probing.event())

    # What workers call

    def join(self, seat: str, incarnation: str, capacity: Mapping[str, Any]) -> None:
        """A worker sits down. A new incarnation of a seat frees what the old one held."""
        known = self._seats.at(seat)
        if known and known != incarnation:
            self.leave(seat, None, "another worker took its seat", died=True)
            self._seats.displaced(known)
        self._seats.take(seat, incarnation)
        self._leases.sit(seat, capacity.get("shares"))
        self._leases.claim(seat, [])

    def exchange(self, calls: Sequence[Call]) -> list[Answer]:
        """Take in what all callers bring, then answer them all: two commits, however many there are."""
        self._take_in([(call.seat, result) for call in calls for result in call.results])
        if self._settings.generation is not None:
            self._end_generation()
        if self.aborted or self._state.finished:
            return [Finished()] * len(calls)
        if self._winding_up:
            return [Wait()] * len(calls)
        asking = [call for call in calls if call.number and not self._seats.is_lost(call.seat)]
        for call in asking:
            self._leases.sit(call.seat, call.shares)
        # Of calls that came in together one may say that its seat is at something, and a later one what came of it.
        over = {(call.seat, (result.id, result.repeat)) for call in calls for result in call.results}
        given = self._hand(asking, over)
        short = sum(
            call.number - len(keys)
            for call, keys in zip(asking, given, strict=True)
            if self._leases.free_for(call.seat)
        )
        more = bool(short) or not all(given)
        if short:
            short -= self._promote(short)
        if (short or (asking and self._settings.generation is not None)) and self._may_propose():
            self._propose(short + self._ahead())
        if not all(given):
            self._advance()
        if self.aborted or self._state.finished:
            return [Finished()] * len(calls)
        if more:
            given = self._hand(asking, over)
        found = {id(call): keys for call, keys in zip(asking, given, strict=True)}
        return [[self._item(self._state.tasks[key]) for key in found.get(id(call), ())] or Wait() for call in calls]

    def _ahead(self) -> int:
        seats = len(self._seats)
        return seats // (SEATS_PER_AHEAD if seats < MANY_SEATS else SEATS_PER_AHEAD // 2)

    def ask(self, seat: str, number: int = 1) -> Answer:
        """Up to `number` items: first what this seat holds, then what a crash left behind, then new candidates."""
        return self.exchange([Call(seat, number=number)])[0]

    def beat(self, seat: str, incarnation: str, shares: str | None = None) -> bool:
        """A sign of life from a worker that has sat down; False where it was given up. A study that has begun anew meanwhile
        knows it again from here, with the GPU that it `shares`.
        """
        lives = self._seats.lives(seat, incarnation)
        if lives:
            self._leases.sit(seat, shares)
        return lives

    def resume(self) -> None:
        """This study has begun anew among workers that go on: what one of them may be at waits until they have said so."""
        self._leases.keep()

    def expect(self, seats: Collection[str]) -> None:
        """All that work, of whom a study that has begun anew may not have heard yet."""
        for seat in seats:
            self._seats.expect(seat)
        self._leases.expect(seats)

    def claim(self, seat: str, incarnation: str, holding: Sequence[Key]) -> None:
        """What a worker holds that has noticed that the study has begun anew; what it has finished it has handed in before."""
        if self._seats.lives(seat, incarnation):
            self._leases.claim(seat, holding)

    def give_up(self, seat: str, reason: str) -> None:
        """A worker is silent. It counts as one that died, is given nothing more, and what it still brings counts once."""
        incarnation = self._seats.at(seat)
        if incarnation is None:  # it has not sat down yet
            self.setup_failed(seat, reason)
            return
        self.leave(seat, None, reason, died=True)
        self._seats.give_up(seat, incarnation)

    def broke(self, seat: str, incarnation: str, reason: str) -> None:
        """A worker ends because an evaluation raised: it says why itself, before anybody notices that it is gone."""
        if self._seats.at(seat) == incarnation:
            self.give_up(seat, reason)

    def wind_up(self) -> None:
        """From now on nothing is handed out; what workers still bring is taken in."""
        self._winding_up = True

    def report(self, seat: str, results: Sequence[Result]) -> None:
        """Take finished rungs in. Idempotent: what was acknowledged before is ignored."""
        self.exchange([Call(seat, results)])

    def fail(self, seat: str, id: int, reason: str, repeat: int = 0) -> None:
        """A candidate could not be evaluated, for a reason of its own."""
        task = self._state.tasks.get((id, repeat))
        if task is not None and not task.finished:
            self._commit(failed(task, seat, reason))
            self._seats.works(seat)
        self._leases.end((id, repeat))

    def leave(self, seat: str, incarnation: str | None, reason: str, died: bool = False) -> None:
        """A worker is gone; its items go back to the front of the queue and resume at their rung."""
        if not self._seats.leave(seat, incarnation, reason, died):
            return
        self.aborted = self._seats.hopeless or self.aborted
        held = self._leases.give_back(seat)
        # Of several nobody can tell which one it was: they are handed out alone from now on, and none is blamed yet.
        alone = len(held) == 1
        for task in (self._state.tasks[key] for key in held if died):
            if alone and task.deaths + 1 >= MOST_DEATHS:
                self._commit(failed(task, seat, f"took down {MOST_DEATHS} workers, the last one: {reason}"))
            else:
                self._commit(worker_died(task, seat, reason, alone))

    def setup_failed(self, seat: str, reason: str) -> None:
        """A worker could not load its data or baseline. Three times in a row stop the search with the reason."""
        self._seats.setup_failed(seat, reason)
        self.aborted = self._seats.hopeless or self.aborted

    def stumbled(self, seat: str, incarnation: str, reason: str) -> None:
        """A worker's machine failed it, not its candidates: they are handed out again, and the worker counts as not set up."""
        self.leave(seat, incarnation, reason)
        self.setup_failed(seat, reason)

    # What a user looks at

    @property
    def state(self) -> StudyState:
        """Everything the journal holds, for reading."""
        return self._state

    @property
    def space(self) -> Searched:
        return self._space

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def finished(self) -> bool:
        return self._state.finished

    def genes_of(self, item: Item) -> Genes:
        """The genes behind an item; those of the dearest plan where it is about no plan."""
        if item.id >= 0:
            return self._state.by_id[item.id].genes
        assert self._state.probing is not None
        return self._state.probing.genes(item.id)

    def progress(self) -> dict[str, Any]:
        """Where the search stands: done, total, running, best, rate, ETA."""
        return self._state.progress(len(self._leases), len(self._seats), self._clock())

    def load(self) -> Load:
        """How busy the workers are just now."""
        return Load(workers=len(self._seats), busy=self._leases.busy, running=len(self._leases))

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
            self._no_more = False
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
        """Write events down, then act on them. What cannot be written, or breaks a user's algorithm, ends the search."""
        if not events:
            return
        try:
            written = self._journal.append(events)
        except UserError as error:
            self.aborted = str(error)
            return
        for event in written:
            try:
                self._fold(event)
            except UserError as error:
                self.aborted = str(error)

    def _take_in(self, results: Sequence[tuple[str, Result]]) -> None:
        """Results become events, committed together. What was acknowledged before, or is not the next rung, is ignored."""
        events: list[Event] = []
        expected: dict[Key, int | None] = {}  # the rung that comes next, None once a task has ended
        before: dict[int, list[Point]] = {}  # what this very group brings to each rung
        for seat, result in results:
            key = result.id, result.repeat
            task = self._state.open.get(key)
            if task is None or result.rung != expected.get(key, task.rung):
                continue
            if result.crowded and not task.crowded:
                event = crowded(task, seat, result.failure or "its share of a GPU is too small")
            else:
                event = (reported if result.id >= 0 else probed)(seat, result, task)
            if result.recomputed:
                event["recomputed"] = result.recomputed
            climbs = event["type"] == "reported" and not self._is_last(result.rung)
            if climbs and not result.repeat:
                event |= self._halving.then(event, before.setdefault(result.rung, []))
            expected[key] = result.rung + 1 if climbs and "then" not in event else None
            events.append(event)
            self._seats.works(seat)
        self._commit(*events)
        for event in events:
            key = event["id"], event["repeat"]
            if key not in self._state.open:
                self._leases.end(key)
            elif event["type"] == "died":
                self._leases.put_back(key)

    def _promote(self, number: int) -> int:
        """Send paused candidates on to their next rung, at most `number` of them; how many did go."""
        for done in range(number):
            event = self._halving.next_up()
            if event is None:
                return done
            self._commit(event)
        return number

    def _end_generation(self) -> None:
        """Where nobody of a generation works any more: the best of those that paused go on, or all are told."""
        if not self._state.counts["running"] and self._told.held:
            self._commit(self._halving.at_barrier())

    def _hand(self, calls: Sequence[Call], over: Collection[tuple[str, Key]]) -> list[list[Key]]:
        """What each caller is given of the tasks that wait; nothing new once the hours are over. What is `over` no seat holds."""
        more = self._state.stopped != "hours" and not (self._leases.waits() and self._out_of_time())
        return [
            self._leases.hand(
                call.seat, call.number, [key for key in call.holding if (call.seat, key) not in over], more
            )
            for call in calls
        ]

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
        patience = self._settings.patience
        if self._state.evaluations >= self._settings.evaluations:
            self._commit({"type": "stopped", "reason": "evaluations"})
        elif patience is not None and self._state.since_better >= patience:
            self._commit({"type": "stopped", "reason": "patience"})
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
            first, seeds = len(self._state.by_id), self._given(wanted)
            try:
                proposals = seeds or self._ask(range(first, first + wanted))
            except UserError as error:  # a user's own algorithm that breaks the contract
                self.aborted = str(error)
                return
            if isinstance(proposals, Finished):
                if self._target is not None and (self._state.open or not self._no_more):
                    # Under this limit; what is still out may say where the next one is.
                    self._no_more = True
                    if self._state.open:
                        return
                    continue
                self._commit({"type": "stopped", "reason": "algorithm finished"})
                return
            if isinstance(proposals, Wait) or not proposals:
                if not self._state.open:
                    # Nobody owes it a result: it would wait for ever.
                    self._commit({"type": "stopped", "reason": "algorithm waits in vain"})
                return
            before = self._state.evaluations
            self._commit(*asked_events(first, proposals[:wanted], self._problem, self._space, self._state))
            wanted -= self._state.evaluations - before
            del self._seeds[: len(seeds)]

    def _ask(self, ids: range) -> list[Proposal] | Wait | Finished:
        return self._told.algorithm.ask(ids) if self._state.informed else Wait()

    def _given(self, number: int) -> list[Proposal]:
        """Seeds that are left, then the plan that a target's move asks for."""
        if self._seeds or self._state.solved is None:
            return self._seeds[:number]
        return [Proposal(self._state.solved, {"role": "solved"}, exact=True)]

    def _moved(self) -> bool:
        """Move a target's budget where it is time to; False where nothing is to be asked now: the seeds' results are awaited, or
        the search is over.
        """
        state = self._state
        if self._target is None or not state.informed or self._seeds:
            return True
        doubtful = self._target.doubtful(state)
        if doubtful is not None:
            self._commit({"type": "again", "id": doubtful, "repeats": self._settings.confirm_repeats})
        if state.moves:
            # Where the algorithm finds nothing new there is nothing to wait for.
            early = state.done - state.done_at_move < MOVE_AFTER and state.duplicates_in_a_row < DUPLICATES_PER_ASK
            early = early and not (self._no_more and not state.open)
            if state.solved is not None or early:
                return True
        elif state.open:
            return False
        move = self._target.next(state)
        if isinstance(move, str):
            self._commit({"type": "stopped", "reason": move})
            return False
        if move is not None:
            self._commit(moved(move.limit, move.genes))
        return True

    def _advance(self) -> None:
        """Nothing to hand out: begin to confirm, or finish, once nobody works any more."""
        state = self._state
        out_of_time = state.stopped == "hours"
        if len(self._leases) or state.stopped is None or (self._leases.waits() and not out_of_time):
            return
        settings = self._settings
        if (settings.confirm or settings.retest) and not state.confirming and not out_of_time:
            try:
                ids = worth_confirming(state, self._told, settings)
            except UserError as error:  # as above: it has a view of its own that is none
                self.aborted = str(error)
                return
            retested = state.spread(settings.retest) if settings.retest else []
            if ids or retested:
                self._commit({"type": "confirm", "ids": ids, "repeats": settings.confirm_repeats, "retested": retested})
                return
        if out_of_time or not state.open:
            self._commit({"type": "finished"})

    def _item(self, task: Task) -> Item:
        if task.id < 0:
            return self._probe(task)
        candidate = self._state.by_id[task.id]
        return Item(
            id=task.id,
            kind="confirm" if task.repeat else "candidate",
            plan=self._space.table.plan(candidate.genes),
            rung=task.rung,
            repeat=task.repeat,
            start=task.start,
            last=self._is_last(task.rung),
            alone=task.crowded,
        )

    def _probe(self, task: Task) -> Item:
        probing = self._state.probing
        assert probing is not None
        plan = self._space.table.plan(probing.genes(task.id))
        if probing.source == "table":
            return Item(task.id, "probe", plan, rung=0, alone=task.crowded)
        changes = tuple(probe.change for probe in probing.probes)
        return Item(task.id, "gradients", plan, rung=0, changes=changes, alone=task.crowded)

    def _is_last(self, rung: int) -> bool:
        return rung == self._settings.rungs - 1


def read_study(journal: Place | Path) -> StudyState:
    """A study from its journal alone, for looking at: no lock, no algorithm; someone else may be writing it."""
    return StudyState(read_events(journal) if isinstance(journal, Path) else journal.read_events())
