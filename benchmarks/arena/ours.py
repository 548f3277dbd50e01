"""The algorithms of pqsearch, driven as the service drives them: seeds first, one candidate for each free worker."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

from arena.contest import Contender, Objective, Score, Trace, Truth, run, seeds_of
from pqsearch import rooms
from pqsearch.problem import Finished, Genes, Judge, Outcome, Problem, Proposal, Wait
from pqsearch.study import MOST_DUPLICATES


def ours(name: str, seconds: Sequence[float] = (1.0,), in_flight: int = 1) -> Contender:
    """An algorithm by name, with its default options; each evaluation takes some of the given seconds."""

    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        _Service(name, problem, objective, evaluations, seed, seconds).search(in_flight)

    return contend


def run_async(
    name: str,
    problem: Problem,
    score: Score,
    truth: Truth,
    evaluations: int,
    seed: int,
    seconds: Sequence[float],
    in_flight: int = 16,
) -> Trace:
    """An algorithm of ours with several candidates in flight; the trace is by completed evaluations."""
    return run(ours(name, seconds, in_flight), problem, score, truth, evaluations, seed)


class _Service:
    """Asks, waits and tells. Copies of a plan that is running wait for it, as in a study."""

    def __init__(
        self, name: str, problem: Problem, objective: Objective, evaluations: int, seed: int, seconds: Sequence[float]
    ) -> None:
        self._algorithm = rooms.load("algorithms", name)(problem, seed)
        self._problem, self._objective, self._evaluations = problem, objective, evaluations
        self._seeds = seeds_of(problem)
        self._seconds = np.asarray(seconds, dtype=np.float64)
        self._rng = np.random.default_rng((seed, evaluations, len(self._seconds)))
        self._genes: list[Genes] = []
        self._first: dict[Genes, int] = {}
        self._copies: dict[int, list[int]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._running: list[tuple[float, int]] = []
        self._duplicates = 0

    def search(self, in_flight: int) -> None:
        clock = 0.0
        while True:
            while len(self._running) < in_flight and len(self._first) < self._evaluations and self._propose(clock):
                pass
            if not self._running:
                return
            clock, id = heappop(self._running)
            outcome = Outcome((float(self._objective(np.array([self._genes[id]]), exact=True)[0]),))
            self._outcomes[id] = outcome
            for told in [id, *self._copies.pop(id, [])]:
                self._algorithm.tell(told, self._genes[told], outcome)
            for leader in self._algorithm.leading(1) if isinstance(self._algorithm, Judge) else ():
                self._objective.hand_over(self._genes[leader])

    def _propose(self, clock: float) -> bool:
        """Another candidate; False where there is none for now."""
        id = len(self._genes)
        answer = self._seeds[id : id + 1] or self._algorithm.ask([id])
        if isinstance(answer, (Wait, Finished)) or not answer or self._duplicates >= MOST_DUPLICATES:
            return False
        genes = self._repaired(answer[0])
        self._genes.append(genes)
        self._algorithm.asked(id, genes, answer[0].memo)
        source = self._first.setdefault(genes, id)
        if source == id:
            self._duplicates = 0
            heappush(self._running, (clock + float(self._rng.choice(self._seconds)), id))
            return True
        self._duplicates += 1
        if source in self._outcomes:
            self._algorithm.tell(id, genes, self._outcomes[source])
        else:
            self._copies.setdefault(source, []).append(id)
        return True

    def _repaired(self, proposal: Proposal) -> Genes:
        if proposal.exact:
            return proposal.genes
        return tuple(self._problem.repair(np.array([proposal.genes]))[0].tolist())
