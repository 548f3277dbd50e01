"""Proposals become candidates: repaired, costed, and known again where their plan was evaluated before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pqsearch.journal.record import Event
from pqsearch.plan_table import PlanTable
from pqsearch.problem import Genes, IntArray, Problem, Proposal
from pqsearch.study_events import asked
from pqsearch.study_fold import Fold


class Searched(Problem, Protocol):
    """A problem whose genes mean plans (`search_spaces.space.Space`)."""

    @property
    def table(self) -> PlanTable: ...

    def all_costs(self, genes: IntArray) -> list[dict[str, float]]:
        """Every cost by name, of each of a population (plans, knobs)."""
        ...


def repaired(proposals: Sequence[Proposal], problem: Problem) -> IntArray:
    """Genes (proposals, knobs) as they are evaluated."""
    genes = np.array([proposal.genes for proposal in proposals], dtype=np.int64)
    loose = [place for place, proposal in enumerate(proposals) if not proposal.exact]
    if loose:
        genes[loose] = problem.repair(genes[loose])
    return genes


def asked_events(
    first: int, proposals: Sequence[Proposal], problem: Problem, space: Searched, state: Fold
) -> list[Event]:
    """Proposals under the budgets of `problem` as candidates from number `first` on."""
    plans = repaired(proposals, problem)
    costs = space.all_costs(plans)
    events: list[Event] = []
    fresh: dict[Genes, int] = {}
    for place, proposal in enumerate(proposals):
        genes, id = tuple(plans[place].tolist()), first + place
        same_as = state.by_genes.get(genes, fresh.setdefault(genes, id))
        plan_hash = space.table.hash(genes)
        events.append(asked(id, genes, proposal.memo, plan_hash, costs[place], None if same_as == id else same_as))
    return events


def not_asked(seeds: Sequence[Proposal], problem: Problem, state: Fold) -> list[Proposal]:
    """Seeds that are still to be asked: all of them but those that a journal has; under other budgets they are others."""
    by_id = state.by_id.values()
    known = Counter((candidate.genes, str(candidate.role)) for candidate in by_id if candidate.role is not None)
    if not known:
        return list(seeds)
    left = []
    for seed, genes in zip(seeds, repaired(seeds, problem), strict=True):
        key = tuple(map(int, genes)), str(seed.memo.get("role"))
        if known[key]:
            known[key] -= 1
        else:
            left.append(seed)
    return left
