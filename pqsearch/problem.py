"""What an algorithm sees of a search, and what it is told: plain numbers, no model and no cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Genes = tuple[int, ...]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
#: Per knob, what each of its levels is expected to cost in score while all other knobs are at their dearest; 0 there.
Prior = Sequence[Sequence[float]]


class Problem(Protocol):
    """A constrained integer problem. Levels of a knob go from cheapest (0) to dearest.

    `values[k][level]` is the level's meaning (a prune rate, a bit width) and `kinds[k]` its knob kind, so that
    plans of equal levels can be formed; `grid` has the values that each kind was asked to take, cheapest first.
    `limits[b]` bounds column b of `costs`.
    """

    @property
    def levels(self) -> Sequence[int]:
        """Number of levels per knob, at least 1."""
        ...

    @property
    def kinds(self) -> Sequence[str]: ...

    @property
    def values(self) -> Sequence[Sequence[float]]: ...

    @property
    def grid(self) -> Mapping[str, Sequence[float]]: ...

    @property
    def budgets(self) -> Sequence[str]: ...

    @property
    def limits(self) -> FloatArray: ...

    @property
    def spared(self) -> Sequence[str]:
        """Kinds whose dearer levels cost an objective: what they give up is a gain there."""
        ...

    @property
    def prior(self) -> Prior | None:
        """What is known of the knobs before any plan was measured; None for nothing."""
        ...

    @property
    def planned(self) -> IntArray | None:
        """Plans (plans, knobs) of least damage by the prior, best first; None where nobody has solved for them yet."""
        ...

    def costs(self, genes: IntArray) -> FloatArray:
        """Costs (plans, budgets) of a population of genes (plans, knobs)."""
        ...

    def repair(self, genes: IntArray) -> IntArray:
        """Feasible, filled genes (plans, knobs): total, deterministic, idempotent."""
        ...


@dataclass(frozen=True)
class Proposal:
    """A candidate an algorithm wants measured. `memo` comes back in `asked`, so it is JSON.

    `exact` genes are taken as they are, without filling their slack; they must be feasible.
    """

    genes: Genes
    memo: dict[str, Any] = field(default_factory=dict)
    exact: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a candidate was worth: one value per objective, all minimised; the rung reached; failed or not.

    Values of different rungs are never compared: rank by (-rung, values). A failed candidate has no values.
    """

    values: tuple[float, ...]
    rung: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Wait:
    """Nothing to propose until more results arrive."""


@dataclass(frozen=True)
class Finished:
    """Nothing more to propose, ever."""


class Algorithm(Protocol):
    """An ask/tell optimiser whose state is a fold over `asked` and `tell` events.

    `ask` changes nothing and never blocks: its randomness comes from (seed, candidate id), so that a search
    replayed from its journal goes on exactly as the unbroken one would have. `asked` arrives for every candidate
    that was really handed out, with its repaired genes; `tell` may come in any order, more than once for a
    candidate that reached a further rung, and for candidates the algorithm never proposed (seeds).
    """

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        """At most `len(ids)` proposals, the first to become candidate `ids[0]`."""
        ...

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None: ...

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None: ...


@runtime_checkable
class Judge(Protocol):
    """What an algorithm adds that has its own view of the plans it was told: of many single measurements the best one
    was lucky as well.
    """

    def leading(self, number: int) -> list[int]:
        """At most `number` candidates by id, those it takes for the best first; none while it cannot say."""
        ...


def uniform_genes(problem: Problem) -> IntArray:
    """Equal-level plans (plans, knobs) that hold every budget and are maximal: none of the others is at least as dear
    in all kinds, and no dearer in those that cost an objective. Every knob takes the level nearest to its kind's value; the
    dearest bits come first.
    """
    kinds = list(problem.grid)
    ranks = np.array(list(product(*(range(len(problem.grid[kind])) for kind in kinds))), dtype=np.int64)
    nearest = {
        (knob, rank): int(np.argmin(np.abs(np.asarray(problem.values[knob]) - value)))
        for knob, kind in enumerate(problem.kinds)
        for rank, value in enumerate(problem.grid[kind])
    }
    column = {kind: index for index, kind in enumerate(kinds)}
    genes = np.array(
        [[nearest[knob, int(row[column[kind]])] for knob, kind in enumerate(problem.kinds)] for row in ranks],
        dtype=np.int64,
    )
    feasible = (problem.costs(genes) <= problem.limits).all(1)
    ranks, genes = ranks[feasible], genes[feasible]
    spared = np.array([kind in problem.spared for kind in kinds], dtype=bool)
    dominated = [
        bool(((ranks >= row).all(1) & (ranks > row).any(1) & (ranks == row)[:, spared].all(1)).any()) for row in ranks
    ]
    genes = genes[~np.array(dominated, dtype=bool)]
    _, first = np.unique(genes, axis=0, return_index=True)
    return genes[np.sort(first)[::-1]]
