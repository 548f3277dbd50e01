"""Optuna's CMA-ES as an algorithm of a real search: begins at the best start, and learns."""

from __future__ import annotations

import numpy as np
from truth.peer import CmaEs

from pqsearch.problem import Genes, Outcome, Wait
from tests.benchmarks.standin import landscape

PROBLEM, _, TRUTH = landscape()
STARTS: list[Genes] = [(0,) * 10, (1, 0, *[1] * 8)]


def _value(genes: Genes) -> float:
    return float(TRUTH(np.array([genes]))[0])


def _told() -> CmaEs:
    peer = CmaEs(PROBLEM, 0)
    for id, genes in enumerate(STARTS):
        peer.asked(id, genes, {})
    peer.tell(0, STARTS[0], Outcome((_value(STARTS[0]),)))
    assert peer.ask([2]) == Wait()
    peer.tell(1, STARTS[1], Outcome((_value(STARTS[1]),)))
    return peer


def test_it_waits_for_all_starts_and_then_gets_better_than_they_are() -> None:
    peer = _told()
    found = []
    for id in range(2, 202):
        (proposal,) = peer.ask([id])  # type: ignore[misc]
        assert all(0 <= level < levels for level, levels in zip(proposal.genes, PROBLEM.levels, strict=True))
        genes: Genes = tuple(PROBLEM.repair(np.array([proposal.genes]))[0].tolist())
        peer.asked(id, genes, {})
        peer.tell(id, genes, Outcome((_value(genes),)))
        found.append(_value(genes))
    assert min(found) < min(map(_value, STARTS))
    assert np.mean(found[-50:]) < np.mean(found[:50])


def test_failed_and_repeated_tells_are_taken() -> None:
    peer = _told()
    for id in range(2, 40):
        (proposal,) = peer.ask([id])  # type: ignore[misc]
        outcome = Outcome((), failed=True) if id % 3 else Outcome((1.0,))
        peer.tell(id, proposal.genes, outcome)
        peer.tell(id, proposal.genes, outcome)
    assert peer.ask([40]) != Wait()
