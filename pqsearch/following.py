"""An algorithm that follows a history which someone else keeps: an Optuna storage, a searcher or a scheduler of Tune's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pqsearch.algorithm_of import algorithm_of
from pqsearch.errors import UserError
from pqsearch.problem import Algorithm, Finished, Genes, Outcome, Problem, Wait
from pqsearch.room_problems import rooms_problems
from pqsearch.spec import Spec
from pqsearch.spec_search import AlgorithmSpec
from pqsearch.study_problems import several_problems


@dataclass(frozen=True)
class Asked:
    """A candidate was handed out."""

    id: int
    genes: Genes
    memo: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"type": "asked", "id": self.id, "genes": list(self.genes), "memo": self.memo}


@dataclass(frozen=True)
class Told:
    """A candidate has a worth."""

    id: int
    genes: Genes
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        outcome = self.outcome
        return {
            "type": "told", "id": self.id, "genes": list(self.genes),
            "values": list(outcome.values), "rung": outcome.rung, "failed": outcome.failed,
        }  # fmt: skip


def event_from_json(row: Mapping[str, Any]) -> Asked | Told:
    if row["type"] == "asked":
        return Asked(row["id"], tuple(row["genes"]), row["memo"])
    return Told(row["id"], tuple(row["genes"]), Outcome(tuple(row["values"]), row["rung"], row["failed"]))


class Following:
    """What of a history is new is folded in; where the history differs from what was folded, a new algorithm begins."""

    def __init__(self, make: Callable[[], Algorithm], problem: Problem) -> None:
        self._make, self._problem = make, problem
        self._algorithm = make()
        self._folded: list[Asked | Told] = []

    def propose(self, id: int, history: Sequence[Asked | Told]) -> Asked | Wait | Finished:
        """The candidate that follows a history, as it should be handed out."""
        self._follow(history)
        answer = self._algorithm.ask([id])
        if isinstance(answer, (Wait, Finished)):
            return answer
        if not answer:
            return Wait()
        (proposal,) = answer
        genes = proposal.genes
        if not proposal.exact:
            genes = tuple(self._problem.repair(np.array([genes]))[0].tolist())
        return Asked(id, genes, json.loads(json.dumps(proposal.memo)))  # as it reads back

    def _follow(self, history: Sequence[Asked | Told]) -> None:
        if self._folded != list(history[: len(self._folded)]):
            self._algorithm, self._folded = self._make(), []
        for event in history[len(self._folded) :]:
            if isinstance(event, Asked):
                self._algorithm.asked(event.id, event.genes, event.memo)
            else:
                self._algorithm.tell(event.id, event.genes, event.outcome)
            self._folded.append(event)


def at_least(least: int, **arguments: Any) -> Iterator[str]:
    """A line for each argument that is no whole number of at least `least`."""
    for name, value in arguments.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"{name}: must be a whole number of at least {least}, got {value!r}"


def check_algorithm(name: str, options: Mapping[str, Any], objectives: int = 1, seed: Any = 0) -> None:
    """Raises `UserError` for an unknown algorithm or option, one that cannot have so many objectives, and a seed that is none."""
    problems = [
        *rooms_problems({"algorithm": {"name": name, **options}}, Spec),
        *several_problems(name, objectives),
        *at_least(0, seed=seed),
    ]
    if problems:
        raise UserError(problems)


def follow_by_name(name: str, problem: Problem, seed: int, options: Mapping[str, Any]) -> Following:
    spec = AlgorithmSpec(name=name, **options)
    return Following(lambda: algorithm_of(spec, problem, seed), problem)
