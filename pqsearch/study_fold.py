"""What a journal's events add up to: candidates, tasks and counters, folded one by one, the same live and on replay.

Nothing here looks through all candidates for one event: a study of 100,000 is as quick as one of 100.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pqsearch.journal.record import Event
from pqsearch.plan_table import PlanTable
from pqsearch.probing import Probing
from pqsearch.problem import Genes

#: States of a candidate that has an outcome: its algorithm is told. One that was stopped may go on when it is promoted.
ENDED = ("done", "failed", "stopped")
#: A candidate and which of its evaluations.
Key = tuple[int, int]
#: Costs that were computed for one plan and for many may differ in their last digits.
ROUNDING = 1e-9
#: One value per objective, minimised.
Point = tuple[float, ...]


@dataclass(slots=True)
class Task:
    """One evaluation of one candidate through all rungs: `repeat` 0 is the search's own, others confirm."""

    id: int
    repeat: int
    rung: int = 0  # the next one to do
    start: str | None = None
    deaths: int = 0  # workers that ended while they held this and nothing else
    suspect: bool = False  # a worker ended while it held this, perhaps among others
    crowded: bool = False  # a share of a GPU was too small for it
    finished: bool = False


@dataclass(slots=True)
class Candidate:
    """One proposal and what came of it."""

    id: int
    genes: Genes
    plan_hash: str
    costs: dict[str, float]
    memo: dict[str, Any]
    began: float
    same_as: int | None
    algorithm: Mapping[str, Any]  # that of the day: its memo means nothing to another one
    state: str = "running"  # running, done, failed, stopped, same
    failure: str | None = None
    worker: str | None = None
    ended: float = 0.0
    measurements: list[dict[str, Any]] = field(default_factory=list)

    @property
    def role(self) -> str | None:
        return self.memo.get("role")

    @property
    def source(self) -> int:
        """The candidate that was evaluated for this one: itself, unless it is a copy."""
        return self.id if self.same_as is None else self.same_as


class Fold:
    """Candidates, tasks and counters of a study."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.by_id: dict[int, Candidate] = {}
        self.by_genes: dict[Genes, int] = {}  # the candidate that is evaluated for a plan
        self.copies: dict[int, list[int]] = {}  # candidates that have the plan of an earlier one
        self.tasks: dict[Key, Task] = {}
        self.open: dict[Key, Task] = {}  # tasks that are not finished
        self.opened_tasks: list[Key] = []  # tasks that someone may be given from now on; for the study to empty
        self.counts: Counter[str] = Counter()  # candidates by state
        self.ended: list[int] = []  # candidates in the order in which they ended or ended again
        self.scores: dict[int, float] = {}  # of candidates that are done: the mean of their measurements, minimised
        self.probing: Probing | None = None
        self.confirmed: set[int] = set()
        self.over: set[int] = set()  # candidates that break the budgets of today
        self.roles: dict[str, list[int]] = {}  # candidates by role
        self.worker_seconds = 0.0  # that measurements took, by the workers' own clocks
        self.repeats = self.repeats_done = 0  # measurements beside the first ones
        self.recomputed = 0  # rungs that were climbed once more because the weights they had left were gone
        self.paused: dict[Key, Task] = {}  # tasks on their rung, to be promoted
        #: What was measured at each rung but the last, oldest first: values by objective, and the candidate.
        self.rungs: dict[int, list[tuple[Point, int]]] = {}
        self.promotions: Counter[int] = Counter()  # candidates by each rung from which they went on to the next
        self.settings: dict[str, Any] = {}
        self.fingerprint: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.table = PlanTable(())
        self.duplicates_in_a_row = 0
        self.since_better = 0  # candidates that ended since the last one that nothing before it bettered
        self._front: list[Point] = []
        self.stopped: str | None = None  # why no new candidates are asked
        self.confirming = False
        self.finished = False
        self.epoch = 0
        self.moves: list[float] = []  # limits that a target has moved its budget to
        self.done_at_move = 0
        self.doubted: set[int] = set()  # plans that a target has measured again before it believes them
        self.solved: Genes | None = None  # the plan that a move asks for
        self._seconds_before = 0.0
        self._opened = 0.0
        self._last = 0.0
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        getattr(self, f"_on_{event['type']}")(event)
        self.recomputed += event.get("recomputed", 0)
        self._last = event["time"]

    def seconds(self, now: float | None = None) -> float:
        """Time spent searching, over all sessions."""
        return self._seconds_before + max(0.0, (self._last if now is None else now) - self._opened)

    @property
    def evaluations(self) -> int:
        """Distinct plans handed out for evaluation."""
        return len(self.by_genes)

    @property
    def done(self) -> int:
        """Candidates that have an outcome, without copies."""
        return sum(self.counts[state] for state in ENDED)

    def _on_opened(self, event: Event) -> None:
        # A session ends with its last event; the time until the next one opens was nobody's.
        self._seconds_before = self.seconds(self._last)
        self._opened = self._last = event["time"]
        grown = self.settings and asks_for_more(self.settings, event["settings"])
        budgets = self.settings.get("budgets")
        self.settings, self.fingerprint = event["settings"], event["fingerprint"]
        self.versions, self.epoch = event["versions"], event["epoch"]
        self.table = PlanTable.from_json(event["knobs"])
        if grown:
            self.stopped, self.confirming, self.finished = None, False, False
            self.duplicates_in_a_row = self.since_better = 0
        if budgets != self.settings["budgets"]:
            self.over = {id for id, candidate in self.by_id.items() if self.breaks(candidate, self.settings["budgets"])}
            self._front = []
            for id in self.scores:
                self._improves(id)

    def _on_probing(self, event: Event) -> None:
        self.probing = Probing.from_event(event)
        for id in self.probing.ids:
            self._begin(Task(id, 0))

    def _on_probed(self, event: Event) -> None:
        self.worker_seconds += sum(event["seconds"].values())
        self._answer(event["id"], event)

    def _answer(self, id: int, answer: Event | None) -> None:
        assert self.probing is not None
        self._finish(self.tasks[id, 0])
        self.probing.answers[id] = answer

    def _on_asked(self, event: Event) -> None:
        candidate = Candidate(
            id=event["id"],
            genes=tuple(event["genes"]),
            plan_hash=event["plan_hash"],
            costs=event["costs"],
            memo=event["memo"],
            began=event["time"],
            same_as=event["same_as"],
            algorithm=self.settings["algorithm"],
        )
        self.by_id[candidate.id] = candidate
        if candidate.role is not None:
            self.roles.setdefault(candidate.role, []).append(candidate.id)
        if candidate.role == "solved":
            self.solved = None
        if self.breaks(candidate, self.settings["budgets"]):
            self.over.add(candidate.id)
        if candidate.same_as is None:
            self.by_genes[candidate.genes] = candidate.id
            self.counts["running"] += 1
            self._begin(Task(candidate.id, 0))
            self.duplicates_in_a_row = 0
        else:
            candidate.state = "same"
            self.counts["same"] += 1
            self.copies.setdefault(candidate.same_as, []).append(candidate.id)
            self.duplicates_in_a_row += 1

    def _on_reported(self, event: Event) -> None:
        candidate, task = self.by_id[event["id"]], self.tasks[event["id"], event["repeat"]]
        keys = ("repeat", "rung", "accuracy", "images", "loss", "seconds", "worker")
        more: dict[str, Any] = {key: event[key] for key in ("deviation", "lost", "gained", "squares") if key in event}
        entry = {**{key: event[key] for key in keys}, **more}
        candidate.measurements.append(entry)
        self.worker_seconds += sum(event["seconds"].values())
        candidate.worker = event["worker"]
        task.rung, task.start, task.deaths = event["rung"] + 1, event["weights"], 0
        task.suspect = False
        if task.rung >= self.settings["rungs"]:
            self._finish(task)
            if task.repeat == 0:
                self._end(candidate, "done", event["time"])
            if candidate.state == "done":
                # Where the first measurement failed and a later one did not, the plan has no rank.
                self.scores[candidate.id] = self.score(candidate.id)
                self.since_better = 0 if self._improves(candidate.id) else self.since_better
        elif task.repeat == 0:
            self.rungs.setdefault(event["rung"], []).append((self.values(candidate, entry), candidate.id))
            if event.get("then") == "stops":
                self._finish(task)
                self._end(candidate, "stopped", event["time"])
            elif event.get("then") == "pauses":
                key = task.id, task.repeat
                self.paused[key] = self.open.pop(key)
                self._end(candidate, "stopped", event["time"])
            else:
                self.promotions[event["rung"]] += 1

    def _on_promoted(self, event: Event) -> None:
        for id in event["ids"]:
            self.open[id, 0] = task = self.paused.pop((id, 0))
            self.promotions[task.rung - 1] += 1
            self.opened_tasks.append((id, 0))
            self._turn(self.by_id[id], "running")
        for id in event["left"]:
            self.paused.pop((id, 0)).finished = True

    def _on_generation(self, event: Event) -> None:
        """Nothing changes but what the algorithm is told."""

    def _on_failed(self, event: Event) -> None:
        if event["id"] < 0:
            self._answer(event["id"], None)
            return
        candidate, task = self.by_id[event["id"]], self.tasks[event["id"], event["repeat"]]
        self._finish(task)
        if task.repeat == 0:
            candidate.failure, candidate.worker = event["reason"], event["worker"]
            self._end(candidate, "failed", event["time"])

    def _on_died(self, event: Event) -> None:
        task = self.tasks[event["id"], event["repeat"]]
        task.suspect, task.deaths = True, task.deaths + event["alone"]
        task.crowded = task.crowded or event.get("crowded", False)

    def _on_stopped(self, event: Event) -> None:
        self.stopped = event["reason"]

    def _on_moved(self, event: Event) -> None:
        self.moves.append(event["limit"])
        self.done_at_move, self.solved = self.done, tuple(event["genes"])

    def _on_again(self, event: Event) -> None:
        self.doubted.add(event["id"])
        self._repeat(event["id"], event["repeats"])

    def _on_confirm(self, event: Event) -> None:
        self.confirming = True
        self.confirmed.update(event["ids"])
        repeats: dict[int, int] = dict.fromkeys(event["retested"], 1)
        repeats.update(dict.fromkeys(event["ids"], event["repeats"]))
        for id, number in repeats.items():
            self._repeat(id, number)

    def _on_finished(self, event: Event) -> None:
        self.finished = True

    def _repeat(self, id: int, number: int) -> None:
        for repeat in range(1, number + 1):
            if (id, repeat) not in self.tasks:
                self.repeats += 1
                self._begin(Task(id, repeat))

    def _begin(self, task: Task) -> None:
        key = task.id, task.repeat
        self.tasks[key] = self.open[key] = task
        self.opened_tasks.append(key)

    def _finish(self, task: Task) -> None:
        self.repeats_done += task.repeat > 0 and not task.finished
        task.finished = True
        self.open.pop((task.id, task.repeat), None)

    def _end(self, candidate: Candidate, state: str, time: float) -> None:
        self._turn(candidate, state)
        candidate.ended = time
        self.ended.append(candidate.id)
        self.since_better += 1

    def _turn(self, candidate: Candidate, state: str) -> None:
        self.counts[candidate.state] -= 1
        self.counts[state] += 1
        candidate.state = state

    def _improves(self, id: int) -> bool:
        """Whether nothing that was known before is as good in everything; takes it in."""
        if id in self.over:
            return False
        point = self.point(id)
        if any(all(a <= b for a, b in zip(other, point, strict=True)) for other in self._front):
            return False
        self._front = [other for other in self._front if not all(a <= b for a, b in zip(point, other, strict=True))] + [
            point
        ]
        return True

    @staticmethod
    def breaks(candidate: Candidate, budgets: Mapping[str, float]) -> bool:
        """Whether a candidate breaks a budget: budgets may change between two openings."""
        return any(candidate.costs[name] > limit * (1 + ROUNDING) for name, limit in budgets.items())

    def point(self, id: int) -> Point:
        """One value per objective, minimised, the score being the mean over repeats."""
        return objective_values(self.settings["objectives"], self.scores[id], self.by_id[id].costs)

    def values(self, candidate: Candidate, entry: Mapping[str, Any]) -> Point:
        """The same of one measurement."""
        objectives = self.settings["objectives"]
        return objective_values(objectives, score_of(entry, objectives[0]), candidate.costs)

    def score(self, id: int) -> float:
        """What ranks a candidate, minimised: the mean over its repeats at the last rung."""
        scores = [score_of(entry, self.settings["objectives"][0]) for entry in self.last_rung(id)]
        return scores[0] if len(scores) == 1 else statistics.fmean(scores)

    def last_rung(self, id: int) -> list[dict[str, Any]]:
        """Measurements of a candidate at the last rung, one per repeat."""
        top = self.settings["rungs"] - 1
        rows = [entry for entry in self.by_id[id].measurements if entry["rung"] == top]
        return sorted(rows, key=lambda entry: entry["repeat"])


def objective_values(objectives: Sequence[str], score: float, costs: Mapping[str, float]) -> Point:
    """A score and a plan's costs as what is minimised, one value per objective."""
    return score, *(costs[name] for name in objectives[1:])


def score_of(entry: Mapping[str, Any], score: str) -> float:
    """A measurement as a number to minimise."""
    return entry["loss"] if score == "loss" else 1 - entry["accuracy"]


def asks_for_more(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a study that ended under the settings `before` has to go on under those of `now`."""
    unlimited = float("inf")
    return (
        any((now[key] or unlimited) > (before[key] or unlimited) for key in ("hours", "patience"))
        or any(now[key] > before[key] for key in ("evaluations", "confirm", "confirm_repeats", "retest"))
        or any(now[key] != before[key] for key in ("budgets", "algorithm"))
    )
