"""The algorithm a spec names: a file of ours, a sampler or searcher of others, or a user's class, watched for breaches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.own import load_own
from pqsearch.problem import Algorithm, Finished, Genes, Judge, Outcome, Problem, Proposal, Wait
from pqsearch.samplers import make_sampler
from pqsearch.spec_search import AlgorithmSpec


def algorithm_of(spec: AlgorithmSpec, problem: Problem, seed: int) -> Algorithm:
    """The algorithm of a spec on a problem. Raises `UserError` when a user's own cannot be made."""
    if spec.name.startswith("optuna:"):
        from pqsearch.algorithms._optuna import Sampled

        sampler = spec.name.removeprefix("optuna:")
        return Sampled(problem, seed, lambda seed: make_sampler(sampler, spec.options, seed))
    if spec.name.startswith("tune:"):
        from pqsearch.algorithms._tune import Searched

        return Searched(problem, seed)
    if ":" not in spec.name:
        made: Algorithm = rooms.load("algorithms", spec.name)(problem, seed, **spec.options)
        return made
    entry = load_own(spec.name, spec.folder, "algorithm.name")
    made = _told(spec.name, "made", lambda: entry(problem, seed, **spec.options))
    missing = [name for name in ("ask", "asked", "tell") if not callable(getattr(made, name, None))]
    if missing:
        raise UserError(
            f"algorithm.name: {spec.name} has no method {' and no '.join(missing)}; the contract is in docs/own_algorithm.md"
        )
    return Watched(made, problem, spec.name)


class Watched:
    """A user's algorithm. What breaks the contract becomes a `UserError` that says which rule, with the genes."""

    def __init__(self, algorithm: Algorithm, problem: Problem, name: str) -> None:
        self._algorithm, self._problem, self._name = algorithm, problem, name

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        answer = _told(self._name, "asked", lambda: self._algorithm.ask(ids))
        if isinstance(answer, (Wait, Finished)):
            return answer
        if not isinstance(answer, list):
            self._refuse(f"ask gave {type(answer).__name__}; it must give a list of Proposal, Wait() or Finished()")
        if len(answer) > len(ids):
            self._refuse(f"ask gave {len(answer)} proposals for {len(ids)} ids; it may give fewer, not more")
        for proposal in answer:
            self._check(proposal)
        return answer

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        _told(self._name, "told of a candidate (asked)", lambda: self._algorithm.asked(id, genes, memo))

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        _told(self._name, "told an outcome (tell)", lambda: self._algorithm.tell(id, genes, outcome))

    def leading(self, number: int) -> list[int]:
        """What it takes for the best, where it has a view of its own."""
        algorithm = self._algorithm
        if not isinstance(algorithm, Judge):
            return []
        answer = _told(self._name, "asked for its leaders (leading)", lambda: algorithm.leading(number))
        if not isinstance(answer, list) or not all(type(id) is int for id in answer):
            self._refuse(f"leading must give a list of candidate ids, got {answer!r}")
        return answer

    def _check(self, proposal: Any) -> None:
        if not isinstance(proposal, Proposal):
            self._refuse(f"ask gave a list with {type(proposal).__name__} in it; every entry must be a Proposal")
        genes, levels = proposal.genes, self._problem.levels
        if not isinstance(genes, tuple) or not all(type(level) is int for level in genes):
            self._refuse(f"genes must be a tuple of whole numbers, got {genes!r}")
        if len(genes) != len(levels):
            self._refuse(f"genes must be {len(levels)} levels, one per knob, got {len(genes)}: {genes}")
        for knob, (level, count) in enumerate(zip(genes, levels, strict=True)):
            if not 0 <= level < count:
                self._refuse(f"the level of knob {knob} must be from 0 to {count - 1}, got {level} in {genes}")
        self._check_memo(proposal.memo, genes)
        if proposal.exact:
            costs = self._problem.costs(np.array([genes]))[0]
            for name, cost, limit in zip(self._problem.budgets, costs, self._problem.limits, strict=True):
                if cost > limit:
                    self._refuse(f"exact genes must hold every budget, {name} is {cost:g} of {limit:g} for {genes}")

    def _check_memo(self, memo: Any, genes: Genes) -> None:
        """A journal keeps it, where an entry of ours says what a plan is there for."""
        try:
            kept = isinstance(memo, dict) and bool(json.dumps(memo, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            kept = False
        if not kept:
            self._refuse(f"memo must be a dict that JSON can hold, got {' '.join(repr(memo).split())} for {genes}")
        if "role" in memo:
            self._refuse(
                f"memo must have no 'role', which marks plans of pqsearch's own, got {memo['role']!r} for {genes}"
            )

    def _refuse(self, rule: str) -> None:
        raise UserError(f"algorithm.name: {self._name} breaks the contract: {rule}")


def _told(name: str, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"algorithm.name: {name} failed when it was {what}: {type(error).__name__}: {reason}"
        ) from error
