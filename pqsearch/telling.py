"""What an algorithm is shown of a study: its own candidates and seeds, results one by one or by generations, and no probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pqsearch.journal.record import Event
from pqsearch.problem import Algorithm, Genes, Judge, Outcome, Prior, Problem
from pqsearch.settings import Settings
from pqsearch.study_fold import ENDED, Candidate
from pqsearch.study_state import StudyState


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
        self.held: list[int] = []  # candidates that ended and are not told yet

    def see(self, event: Event) -> None:
        """Take in an event about candidates."""
        if not self._state.informed:
            self._early.append(event)
        kind = event["type"]
        if kind == "asked":
            candidate = self._state.by_id[event["id"]]
            self.algorithm.asked(candidate.id, candidate.genes, self._memo(candidate))
            self.members += candidate.same_as is None
            if candidate.same_as is not None and self._state.by_id[candidate.source].state in ENDED:
                self._tell(candidate.id, self._outcome(candidate.source))
        elif kind in ("reported", "failed") and event["repeat"] == 0:
            if self._state.by_id[event["id"]].state in ENDED:
                self.held.append(event["id"])
            if self._settings.generation is None:
                self._tell_held()
        elif kind == "generation":
            self._tell_held()

    def _tell_held(self) -> None:
        for id in sorted(set(self.held)):
            self._tell_copies(id)
        self.held, self.members = [], 0

    def _memo(self, candidate: Candidate) -> dict[str, Any]:
        """A memo means something only to the algorithm that wrote it; to another one the candidate is a seed."""
        return candidate.memo if candidate.algorithm == self._settings.algorithm else {}

    def leading(self, number: int) -> list[int]:
        """Whom the algorithm takes for the best, each as the candidate that was measured; none where it has no view."""
        if not isinstance(self.algorithm, Judge):
            return []
        known = self._state.by_id
        sources = [known[known[id].source] for id in self.algorithm.leading(number) if id in known]
        return list(dict.fromkeys(source.id for source in sources if source.state == "done"))

    def inform(self, prior: Prior) -> None:
        """The algorithm begins anew with what was found out; what it has seen so far, the seeds, it is shown again."""
        self.algorithm, self.held, self.members = self._make(prior), [], 0
        for event in self._early:
            self.see(event)

    def move(self, limit: float) -> None:
        """The algorithm begins anew under a target's new limit, and is shown what holds it."""
        assert self._mover is not None
        self.algorithm = self._mover.algorithm(self._state.prior, limit)
        for candidate in self._state.by_id.values():
            self.algorithm.asked(candidate.id, candidate.genes, self._memo(candidate))
            if self._state.by_id[candidate.source].state in ENDED:
                self._tell(candidate.id, self._outcome(candidate.source))

    def _tell(self, id: int, outcome: Outcome) -> None:
        """A plan over the limit that a target has moved to, or over the budgets of today, would be the best by far and teach
        what is not allowed.
        """
        candidate, target = self._state.by_id[id], self._settings.target
        if target is not None and self._state.moves and candidate.costs[target["minimize"]] > self._state.moves[-1]:
            return
        if not self._state.breaks(candidate, self._settings.budgets):
            self.algorithm.tell(id, candidate.genes, outcome)

    def _tell_copies(self, id: int) -> None:
        """What a candidate was worth counts for its copies too."""
        outcome = self._outcome(id)
        for told in sorted([id, *self._state.copies.get(id, ())]):
            self._tell(told, outcome)

    def _outcome(self, id: int) -> Outcome:
        candidate = self._state.by_id[id]
        mine = [entry for entry in candidate.measurements if entry["repeat"] == 0]
        rung = mine[-1]["rung"] if mine else 0
        if candidate.state == "failed":
            return Outcome((), rung, failed=True)
        return Outcome(self._state.values(candidate, mine[-1]), rung)
