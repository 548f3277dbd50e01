"""Algorithms asked and told by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from pqsearch import rooms
from pqsearch.problem import Genes, Outcome, Problem, Proposal


def make(name: str, problem: Problem, seed: int = 0, **options: Any) -> Any:
    return rooms.load("algorithms", name)(problem, seed, **options)


def proposals(algorithm: Any, first: int, number: int) -> list[Proposal]:
    answer = algorithm.ask(range(first, first + number))
    assert isinstance(answer, list)
    return answer


def hand_out(algorithm: Any, problem: Problem, first: int, number: int) -> list[tuple[int, Genes, dict[str, Any]]]:
    """Ask, and say that everything proposed was handed out: (id, repaired genes, memo)."""
    rows = []
    for id, proposal in enumerate(proposals(algorithm, first, number), start=first):
        genes = tuple(map(int, problem.repair(np.array([proposal.genes]))[0]))
        algorithm.asked(id, genes, proposal.memo)
        rows.append((id, genes, proposal.memo))
    return rows


def tell_all(algorithm: Any, rows: list[tuple[int, Genes, dict[str, Any]]], value: float | None = 0.5) -> None:
    for id, genes, _ in rows:
        algorithm.tell(id, genes, Outcome((), failed=True) if value is None else Outcome((value,)))
