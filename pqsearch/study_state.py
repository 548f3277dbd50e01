"""What a study knows, for whoever looks at it: who leads, where it stands, every candidate as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from itertools import count, takewhile
from typing import Any

import numpy as np

from pqsearch.algorithms._fronts import fronts
from pqsearch.drop import Drop, drop_of
from pqsearch.problem import Prior
from pqsearch.study_fold import Fold, Task, score_of

#: Roles of the seeds that a search is compared with.
COMPARED = ("uniform", "uniform_filled", "sensitivity_ilp")


class StudyState(Fold):
    """A study's journal, folded (`Fold`), and views of it. Readable without the study."""

    def unfinished(self) -> list[Task]:
        """Tasks in flight or waiting: probes first, then candidates, oldest first."""
        return sorted(self.open.values(), key=lambda task: (task.id >= 0, abs(task.id), task.repeat))

    @property
    def informed(self) -> bool:
        """Nothing more is to be found out before an algorithm begins."""
        return self.probing is None or self.probing.finished

    @property
    def prior(self) -> Prior | None:
        """What was found out of single knobs; None while it is not all in, or nothing is known."""
        return self.probing.prior() if self.probing is not None and self.probing.finished else None

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
            settled = self.repeats == self.repeats_done
            confirmed = {id for id in self.confirmed if settled and any(row["repeat"] for row in self.last_rung(id))}
            return lambda id: (id not in confirmed, self.scores[id], id)

        def by_target(id: int) -> tuple[float, ...]:
            drop, cost = self.drop(id), self.by_id[id].costs[target["minimize"]]
            if self.holds(id):
                return 0, cost, id
            return (1, cost, id) if self.clears(id) else (2, drop.high if drop is not None else np.inf, id)

        return by_target

    def leading(self, number: int, role: str | None = None) -> list[dict[str, Any]]:
        """The best candidates under the budgets of today, as rows; those measured again come before those that were not."""
        ids = self.scores if role is None else {self.by_id[id].source for id in self.roles.get(role, ())}
        able = [id for id in ids if id in self.scores and id not in self.over]
        return [self.row(id) for id in nsmallest(number, self._shortlist(number, able), key=self._order())]

    def _shortlist(self, number: int, able: list[int]) -> list[int]:
        """Those that can be among the first so many: ordering a hundred thousand takes a tenth of a second, at every look at them."""
        if self.settings.get("target") is not None or not 0 < number < len(able):
            return able
        last = nsmallest(number, map(self.scores.__getitem__, able))[-1]
        return [id for id in able if self.scores[id] <= last or id in self.confirmed]

    def front(self, among: Iterable[int] | None = None) -> list[dict[str, Any]]:
        """Evaluated candidates that no other one (`among` these, if given) betters in every objective, best score first; `point`
        is their values.
        """
        ids = [id for id in sorted(self.scores if among is None else among) if id not in self.over]
        if not ids:
            return []
        points = np.array([self.point(id) for id in ids])
        best = sorted((points[index].tolist(), ids[index]) for index in np.flatnonzero(fronts(points) == 0))
        return [{**self.row(id), "point": point} for point, id in best]

    def spread(self, number: int) -> list[int]:
        """Ids of evaluated candidates, as far apart in rank as can be, the best and the worst among them."""
        ranked = sorted(self.scores, key=lambda id: (self.scores[id], id))
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
            "deviation": last.get("deviation") if last else None,
            "role": found.role,
            "failure": found.failure,
            "repeats": [entry["accuracy"] for entry in self.last_rung(id)],
            "measurements": found.measurements,
            "same_as": found.same_as,
            "plan": self.table.plan(found.genes).to_json(),
            "began": found.began,
            "ended": found.ended,
        }

    def progress(self, running: int = 0, workers: int = 0, now: float | None = None) -> dict[str, Any]:
        """Where the search stands, for a console."""
        seconds = self.seconds(now)
        done, total = self.reckoning()
        rate = done / seconds if seconds > 0 else 0.0
        best = self.best()
        return {
            "phase": self._phase(),
            "done": done,
            "total": total,
            "running": running,
            "failed": self.counts["failed"],
            "halted": self.counts["stopped"],
            "recomputed": self.recomputed,
            "asked": len(self.by_id),
            "duplicates": self.counts["same"],
            "best": best and {**{key: best[key] for key in ("id", "plan", "costs", "accuracy", "images", "deviation", "repeats")},
                              "score": self.scores[best["id"]]},
            "target": self.target(),
            "seconds": seconds,
            "worker_seconds": self.worker_seconds,
            "rate": rate,
            "eta_seconds": (total - done) / rate if rate and not self.finished else None,
            "stopped": self.stopped,
            "workers": workers,
        }  # fmt: skip

    def reckoning(self) -> tuple[int, int]:
        """Evaluations that came to an end, and how many there will have been. Repeats are evaluations too: they take as long."""
        total: int = self.settings.get("evaluations", 0) if self.stopped is None else self.evaluations
        done = self.done + self.repeats_done
        total += self.repeats if self.confirming else self._expected_repeats()
        if self.probing is not None and len(self.probing.ids) > 1:
            done, total = done + len(self.probing.answers), total + len(self.probing.ids)
        return done, total

    def _phase(self) -> str:
        if self.finished:
            return "finished"
        return "probing" if not self.informed else "confirming" if self.confirming else "searching"

    def _expected_repeats(self) -> int:
        if self.finished or self.stopped == "hours":
            return 0
        return expected_repeats(self.settings)


def expected_repeats(settings: Mapping[str, Any]) -> int:
    """About how many measurements more than one a candidate a study will make."""
    confirm = settings.get("confirm", 0)
    plans = min(confirm + 2, settings.get("evaluations", 0)) if confirm else 0
    return plans * settings.get("confirm_repeats", 0) + settings.get("retest", 0)


def _most_often(keys: Iterable[tuple[int, int]]) -> int:
    """How often the commonest key occurs: 1 where every rung of every repeat was acknowledged once."""
    return max(Counter(keys).values(), default=0)
