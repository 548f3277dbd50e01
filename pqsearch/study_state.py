"""What a study knows: a fold over its journal's events, the same live and on replay. Readable without the study."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Any

import numpy as np

from pqsearch.algorithms._fronts import fronts
from pqsearch.drop import Drop, drop_of
from pqsearch.journal.file import Event
from pqsearch.probing import Probing
from pqsearch.problem import Prior

#: Roles of the seeds that a search is compared with.
COMPARED = ("uniform", "uniform_filled", "sensitivity_ilp")


@dataclass
class Task:
    """One evaluation of one candidate through all rungs: `repeat` 0 is the search's own, others confirm."""

    id: int
    repeat: int
    rung: int = 0  # the next one to do
    start: str | None = None
    deaths: int = 0
    finished: bool = False


@dataclass
class Candidate:
    """One proposal and what came of it."""

    id: int
    genes: tuple[int, ...]
    plan: dict[str, Any]
    plan_hash: str
    costs: dict[str, float]
    memo: dict[str, Any]
    began: float
    same_as: int | None
    state: str = "running"  # running, done, failed, same
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


class StudyState:
    """Candidates, tasks and counters of a study."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.by_id: dict[int, Candidate] = {}
        self.by_hash: dict[str, int] = {}
        self.tasks: dict[tuple[int, int], Task] = {}
        self.probing: Probing | None = None
        self.confirmed: set[int] = set()
        self.settings: dict[str, Any] = {}
        self.fingerprint: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.duplicates_in_a_row = 0
        self.stopped: str | None = None  # why no new candidates are asked
        self.confirming = False
        self.finished = False
        self.epoch = 0
        self.moves: list[float] = []  # limits that a target has moved its budget to
        self.done_at_move = 0
        self.doubted: set[int] = set()  # plans that a target has measured again before it believes them
        self.solved: tuple[int, ...] | None = None  # the plan that a move asks for
        self._seconds_before = 0.0
        self._opened = 0.0
        self._last = 0.0
        for event in events:
            self.apply(event)

    # Events

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        getattr(self, f"_on_{event['type']}")(event)
        self._last = event["time"]

    def _on_opened(self, event: Event) -> None:
        # A session ends with its last event; the time until the next one opens was nobody's.
        self._seconds_before = self.seconds(self._last)
        self._opened = self._last = event["time"]
        grown = self.settings and asks_for_more(self.settings, event["settings"])
        self.settings, self.fingerprint = event["settings"], event["fingerprint"]
        self.versions, self.epoch = event["versions"], event["epoch"]
        if grown:
            self.stopped, self.confirming, self.finished = None, False, False

    def _on_probing(self, event: Event) -> None:
        self.probing = Probing.from_event(event)
        for id in self.probing.ids:
            self.tasks[id, 0] = Task(id, 0)

    def _on_probed(self, event: Event) -> None:
        self._answer(event["id"], event)

    def _answer(self, id: int, answer: Event | None) -> None:
        assert self.probing is not None
        self.tasks[id, 0].finished = True
        self.probing.answers[id] = answer

    def _on_asked(self, event: Event) -> None:
        candidate = Candidate(
            id=event["id"],
            genes=tuple(event["genes"]),
            plan=event["plan"],
            plan_hash=event["plan_hash"],
            costs=event["costs"],
            memo=event["memo"],
            began=event["time"],
            same_as=event["same_as"],
        )
        self.by_id[candidate.id] = candidate
        if candidate.role == "solved":
            self.solved = None
        if candidate.same_as is None:
            self.by_hash[candidate.plan_hash] = candidate.id
            self.tasks[candidate.id, 0] = Task(candidate.id, 0)
            self.duplicates_in_a_row = 0
        else:
            candidate.state = "same"
            self.duplicates_in_a_row += 1

    def _on_reported(self, event: Event) -> None:
        candidate, task = self.by_id[event["id"]], self.tasks[event["id"], event["repeat"]]
        keys = ("repeat", "rung", "accuracy", "images", "loss", "seconds", "worker")
        compared: dict[str, Any] = {key: event[key] for key in ("lost", "gained") if key in event}
        candidate.measurements.append({**{key: event[key] for key in keys}, **compared})
        candidate.worker = event["worker"]
        task.rung, task.start, task.deaths = event["rung"] + 1, event["weights"], 0
        if task.rung >= self.settings["rungs"]:
            task.finished = True
            if task.repeat == 0:
                candidate.state, candidate.ended = "done", event["time"]

    def _on_failed(self, event: Event) -> None:
        if event["id"] < 0:
            self._answer(event["id"], None)
            return
        candidate, task = self.by_id[event["id"]], self.tasks[event["id"], event["repeat"]]
        task.finished = True
        if task.repeat == 0:
            candidate.state, candidate.ended = "failed", event["time"]
            candidate.failure, candidate.worker = event["reason"], event["worker"]

    def _on_died(self, event: Event) -> None:
        self.tasks[event["id"], event["repeat"]].deaths += 1

    def _on_stopped(self, event: Event) -> None:
        self.stopped = event["reason"]

    def _on_moved(self, event: Event) -> None:
        self.moves.append(event["limit"])
        self.done_at_move, self.solved = self.done, tuple(event["genes"])

    def _on_again(self, event: Event) -> None:
        self.doubted.add(event["id"])
        for repeat in range(1, event["repeats"] + 1):
            self.tasks[event["id"], repeat] = Task(event["id"], repeat)

    def _on_confirm(self, event: Event) -> None:
        self.confirming = True
        self.confirmed.update(event["ids"])
        repeats: dict[int, int] = dict.fromkeys(event["retested"], 1)
        repeats.update(dict.fromkeys(event["ids"], event["repeats"]))
        for id, number in repeats.items():
            for repeat in range(1, number + 1):
                self.tasks.setdefault((id, repeat), Task(id, repeat))

    def _on_finished(self, event: Event) -> None:
        self.finished = True

    # Views

    def seconds(self, now: float | None = None) -> float:
        """Time spent searching, over all sessions."""
        return self._seconds_before + max(0.0, (self._last if now is None else now) - self._opened)

    @property
    def evaluations(self) -> int:
        """Distinct plans handed out for evaluation."""
        return len(self.by_hash)

    @property
    def done(self) -> int:
        return sum(candidate.state in ("done", "failed") for candidate in self.by_id.values())

    def unfinished(self) -> list[Task]:
        """Tasks in flight or waiting: probes first, then candidates, oldest first."""
        waiting = [task for task in self.tasks.values() if not task.finished]
        return sorted(waiting, key=lambda task: (task.id >= 0, abs(task.id), task.repeat))

    @property
    def informed(self) -> bool:
        """Nothing more is to be found out before an algorithm begins."""
        return self.probing is None or self.probing.finished

    @property
    def prior(self) -> Prior | None:
        """What was found out of single knobs; None while it is not all in, or nothing is known."""
        return self.probing.prior() if self.probing is not None and self.probing.finished else None

    def last_rung(self, id: int) -> list[dict[str, Any]]:
        """Measurements of a candidate at the last rung, one per repeat."""
        top = self.settings["rungs"] - 1
        rows = [entry for entry in self.by_id[id].measurements if entry["rung"] == top]
        return sorted(rows, key=lambda entry: entry["repeat"])

    def score(self, id: int) -> float:
        """What ranks a candidate, minimised: the mean over its repeats at the last rung."""
        return statistics.fmean(score_of(entry, self.settings["objectives"][0]) for entry in self.last_rung(id))

    def drop(self, id: int) -> Drop | None:
        """What a candidate loses against the float baseline; None where that was not asked for."""
        return drop_of(self.last_rung(id))

    def target(self) -> dict[str, Any] | None:
        """What is known of a target: `state` (held, infeasible or undecided), plan, cost and drop in points; None without one."""
        asked = self.settings.get("target")
        if asked is None:
            return None
        row = self.best()
        drop = self.drop(row["id"]) if row is not None else None
        if row is None or drop is None:
            return {**asked, "state": "undecided", "id": None, "cost": None, "drop": None}
        missed = "infeasible" if self.stopped == "target infeasible" else "undecided"
        return {
            **asked,
            "state": "held" if self.holds(row["id"]) else missed,
            "id": row["id"],
            "cost": row["costs"][asked["minimize"]],
            "drop": {"value": drop.value, "standard_error": drop.standard_error, "low": drop.low, "high": drop.high},
        }

    def clears(self, id: int) -> bool:
        """Whether a candidate's drop is surely within the target, as far as it was measured."""
        drop = self.drop(id)
        return drop is not None and drop.high <= self.settings["target"]["max_drop"]

    def holds(self, id: int) -> bool:
        """Whether it still is when measured again: of many plans measured once some clear by luck."""
        return self.clears(id) and len(self.last_rung(id)) > 1 and not self.repeating(id)

    def repeating(self, id: int) -> bool:
        """Whether further measurements of a candidate are awaited."""
        repeats = takewhile(lambda task: task is not None, (self.tasks.get((id, repeat)) for repeat in count(1)))
        return any(not task.finished for task in repeats if task is not None)

    def _order(self) -> Callable[[int], tuple[float, ...]]:
        """The key that ranks candidates, smallest first: by score, those measured again before the others. With a target the
        smallest plan that holds it, then those that may, then the rest by how much they may lose.
        """
        target = self.settings.get("target")
        if target is None:
            # While some are still out, those that are back are no better for it.
            settled = all(task.finished for task in self.tasks.values() if task.repeat)
            confirmed = {id for id in self.confirmed if settled and any(row["repeat"] for row in self.last_rung(id))}
            return lambda id: (id not in confirmed, self.score(id), id)

        def by_target(id: int) -> tuple[float, ...]:
            drop, cost = self.drop(id), self.by_id[id].costs[target["minimize"]]
            if self.holds(id):
                return 0, cost, id
            return (1, cost, id) if self.clears(id) else (2, drop.high if drop is not None else np.inf, id)

        return by_target

    def leading(self, number: int, role: str | None = None) -> list[dict[str, Any]]:
        """The best candidates, as rows; those measured again come before those that were not."""
        found = []
        for candidate in self.by_id.values():
            if role is not None and candidate.role != role:
                continue
            if self.by_id[candidate.source].state == "done":
                found.append(candidate.source)
        ranked = sorted(set(found), key=self._order())
        return [self.row(id) for id in ranked[:number]]

    def front(self) -> list[dict[str, Any]]:
        """Evaluated candidates that no other one betters in every objective, best score first; `point` is their values."""
        ids = [candidate.id for candidate in self.by_id.values() if candidate.state == "done"]
        if not ids:
            return []
        points = np.array([self.point(id) for id in ids])
        best = sorted((points[index].tolist(), ids[index]) for index in np.flatnonzero(fronts(points) == 0))
        return [{**self.row(id), "point": point} for point, id in best]

    def point(self, id: int) -> tuple[float, ...]:
        """One value per objective, minimised, the score being the mean over repeats."""
        return objective_values(self.settings["objectives"], self.score(id), self.by_id[id].costs)

    def spread(self, number: int) -> list[int]:
        """Ids of evaluated candidates, as far apart in rank as can be, the best and the worst among them."""
        ids = [candidate.id for candidate in self.by_id.values() if candidate.state == "done"]
        ranked = sorted(ids, key=lambda id: (self.score(id), id))
        if number >= len(ranked):
            return ranked
        return [ranked[round(place * (len(ranked) - 1) / max(1, number - 1))] for place in range(number)]

    def best(self, role: str | None = None) -> dict[str, Any] | None:
        """The best candidate (of a role), None if none is done."""
        return next(iter(self.leading(1, role)), None)

    def candidates(self) -> list[dict[str, Any]]:
        """Every candidate in the order asked."""
        return [self.row(id) for id in sorted(self.by_id)]

    def row(self, id: int) -> dict[str, Any]:
        """One candidate as plain values."""
        found = self.by_id[id]
        mine = [entry for entry in found.measurements if entry["repeat"] == 0]
        last = mine[-1] if mine else None
        return {
            "id": found.id,
            "kind": "candidate",
            "genes": list(found.genes),
            "plan_hash": found.plan_hash,
            "state": found.state,
            "rung": last["rung"] if last else None,
            "values": [score_of(entry, self.settings["objectives"][0]) for entry in mine],
            "costs": found.costs,
            "worker": found.worker,
            "seconds": sum(sum(entry["seconds"].values()) for entry in found.measurements),
            "times_evaluated": _most_often((entry["rung"], entry["repeat"]) for entry in found.measurements),
            "accuracy": last["accuracy"] if last else None,
            "images": last["images"] if last else None,
            "role": found.role,
            "failure": found.failure,
            "repeats": [entry["accuracy"] for entry in self.last_rung(id)],
            "measurements": found.measurements,
            "same_as": found.same_as,
            "plan": found.plan,
            "began": found.began,
            "ended": found.ended,
        }

    def progress(self, running: int = 0, workers: int = 0, now: float | None = None) -> dict[str, Any]:
        """Where the search stands, for a console."""
        seconds = self.seconds(now)
        total: int = self.settings.get("evaluations", 0) if self.stopped is None else self.evaluations
        repeats = [task for (_, repeat), task in self.tasks.items() if repeat]
        # Repeats are evaluations too: they take as long.
        done = self.done + sum(task.finished for task in repeats)
        total += len(repeats) if self.confirming else self._expected_repeats()
        if self.probing is not None and len(self.probing.ids) > 1:
            done, total = done + len(self.probing.answers), total + len(self.probing.ids)
        rate = done / seconds if seconds > 0 else 0.0
        best = self.best()
        return {
            "phase": self._phase(),
            "done": done,
            "total": total,
            "running": running,
            "failed": sum(candidate.state == "failed" for candidate in self.by_id.values()),
            "asked": len(self.by_id),
            "duplicates": sum(candidate.same_as is not None for candidate in self.by_id.values()),
            "best": best and {**{key: best[key] for key in ("id", "plan", "costs", "accuracy", "images", "repeats")},
                              "score": self.score(best["id"])},
            "target": self.target(),
            "seconds": seconds,
            "rate": rate,
            "eta_seconds": (total - done) / rate if rate and not self.finished else None,
            "stopped": self.stopped,
            "workers": workers,
        }  # fmt: skip

    def _phase(self) -> str:
        if self.finished:
            return "finished"
        return "probing" if not self.informed else "confirming" if self.confirming else "searching"

    def _expected_repeats(self) -> int:
        if self.finished or self.stopped == "hours":
            return 0
        return expected_repeats(self.settings)


def objective_values(objectives: Sequence[str], score: float, costs: Mapping[str, float]) -> tuple[float, ...]:
    """A score and a plan's costs as what is minimised, one value per objective."""
    return score, *(costs[name] for name in objectives[1:])


def score_of(entry: Mapping[str, Any], score: str) -> float:
    """A measurement as a number to minimise."""
    return entry["loss"] if score == "loss" else 1 - entry["accuracy"]


def expected_repeats(settings: Mapping[str, Any]) -> int:
    """About how many measurements more than one a candidate a study will make."""
    confirm = settings.get("confirm", 0)
    plans = min(confirm + 2, settings.get("evaluations", 0)) if confirm else 0
    return plans * settings.get("confirm_repeats", 0) + settings.get("retest", 0)


def _most_often(keys: Iterable[tuple[int, int]]) -> int:
    """How often the commonest key occurs: 1 where every rung of every repeat was acknowledged once."""
    return max(Counter(keys).values(), default=0)


def asks_for_more(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a study that ended under the settings `before` has to go on under those of `now`."""
    hours = (before["hours"] or float("inf"), now["hours"] or float("inf"))
    return hours[1] > hours[0] or any(
        now[key] > before[key] for key in ("evaluations", "confirm", "confirm_repeats", "retest")
    )
