"""What an algorithm is shown of a study: its own candidates and seeds, results one by one or by generations, and no probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pqsearch.journal.file import Event
from pqsearch.problem import Algorithm, Genes, Judge, Outcome, Prior, Problem
from pqsearch.settings import Settings
from pqsearch.study_state import StudyState, objective_values, score_of


class Move(Protocol):
    """A limit, and the plan that is expected to do best under it."""

    @property
    def limit(self) -> float: ...

    @property
    def genes(self) -> Genes: ...


class Mover(Protocol):
    """What moves a target's budget (`pqsearch.target.Target`)."""

    def at(self, limit: float) -> Problem:
        """The problem under a limit."""
        ...

    def algorithm(self, prior: Prior | None, limit: float) -> Algorithm:
        """The search algorithm on that problem, knowing nothing yet but the prior."""
        ...

    def doubtful(self, state: StudyState) -> int | None:
        """A candidate that has to be measured again before it is believed."""
        ...

    def next(self, state: StudyState) -> Move | str | None:
        """Where to move, why the search is over, or None for not yet."""
        ...


class Telling:
    """The algorithm and what it has been told, a fold over events that are in `state` already.

    It begins anew when a prior is known and when a target moves its budget: then it is shown once more what counts there.
    """

    def __init__(
        self,
        make: Callable[[Prior | None], Algorithm],
        state: StudyState,
        settings: Settings,
        mover: Mover | None,
    ) -> None:
        self._make, self._state, self._settings, self._mover = make, state, settings, mover
        # Made before anything is known too: what is wrong with a user's own shows before it costs anything.
        self.algorithm = make(None)
        self.members = 0  # of the generation that is out
        self._early: list[Event] = []
        self._held: list[int] = []

    def see(self, event: Event) -> None:
        """Take in an event about candidates."""
        if not self._state.informed:
            self._early.append(event)
        kind = event["type"]
        if kind == "asked":
            self.algorithm.asked(event["id"], tuple(event["genes"]), event["memo"])
            source = event["same_as"]
            self.members += source is None
            if source is not None and self._state.by_id[source].state in ("done", "failed"):
                self._tell(event["id"], self._outcome(source))
        elif kind in ("reported", "failed") and event["repeat"] == 0:
            candidate = self._state.by_id[event["id"]]
            if candidate.state in ("done", "failed"):
                self._held.append(candidate.id)
            if self._settings.generation is None or not self._out():
                for id in sorted(self._held):
                    self._tell_copies(id)
                self._held, self.members = [], 0

    def leading(self, number: int) -> list[int]:
        """Whom the algorithm takes for the best, each as the candidate that was measured; none where it has no view."""
        if not isinstance(self.algorithm, Judge):
            return []
        known = self._state.by_id
        sources = [known[known[id].source] for id in self.algorithm.leading(number) if id in known]
        return list(dict.fromkeys(source.id for source in sources if source.state == "done"))

    def inform(self, prior: Prior) -> None:
        """The algorithm begins anew with what was found out; what it has seen so far, the seeds, it is shown again."""
        self.algorithm, self._held, self.members = self._make(prior), [], 0
        for event in self._early:
            self.see(event)

    def move(self, limit: float) -> None:
        """The algorithm begins anew under a target's new limit, and is shown what holds it."""
        assert self._mover is not None
        self.algorithm = self._mover.algorithm(self._state.prior, limit)
        for candidate in self._state.by_id.values():
            self.algorithm.asked(candidate.id, candidate.genes, candidate.memo)
            if self._state.by_id[candidate.source].state in ("done", "failed"):
                self._tell(candidate.id, self._outcome(candidate.source))

    def _tell(self, id: int, outcome: Outcome) -> None:
        """A plan over the limit that a target has moved to would be the best by far and teach what is not allowed."""
        candidate, target = self._state.by_id[id], self._settings.target
        if target is not None and self._state.moves and candidate.costs[target["minimize"]] > self._state.moves[-1]:
            return
        self.algorithm.tell(id, candidate.genes, outcome)

    def _tell_copies(self, id: int) -> None:
        """What a candidate was worth counts for its copies too."""
        outcome = self._outcome(id)
        for other in self._state.by_id.values():
            if other.id == id or other.same_as == id:
                self._tell(other.id, outcome)

    def _out(self) -> bool:
        """Whether any candidate still owes its first result."""
        return any(task.id >= 0 and not task.repeat for task in self._state.unfinished())

    def _outcome(self, id: int) -> Outcome:
        candidate = self._state.by_id[id]
        mine = [entry for entry in candidate.measurements if entry["repeat"] == 0]
        rung = mine[-1]["rung"] if mine else 0
        if candidate.state == "failed":
            return Outcome((), rung, failed=True)
        objectives = self._settings.objectives
        return Outcome(objective_values(objectives, score_of(mine[-1], objectives[0]), candidate.costs), rung)
