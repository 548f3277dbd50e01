"""A problem without budgets: every combination of levels is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pqsearch.errors import UserError
from pqsearch.problem import FloatArray, IntArray, Prior


@dataclass(frozen=True)
class Box:
    """`levels[k]` levels for knob k. `values[k]` says what they mean; their numbers, unless given.

    No plan is the dearest that is allowed here, so each knob is a kind of its own with its middle as the only grid value:
    the plan of all middles stands for the uniform ones.
    """

    levels: Sequence[int]
    values: Sequence[Sequence[float]] = ()

    def __post_init__(self) -> None:
        if not self.levels or any(type(count) is not int or count < 1 for count in self.levels):
            raise UserError(f"levels: must be whole numbers of at least 1, one per knob, got {list(self.levels)}")
        if not self.values:
            object.__setattr__(self, "values", [list(range(count)) for count in self.levels])
        lengths = [len(row) for row in self.values]
        if lengths != list(self.levels):
            raise UserError(f"values: must be one per level, {list(self.levels)}, got {lengths}")

    @property
    def kinds(self) -> Sequence[str]:
        return [f"knob{knob}" for knob in range(len(self.levels))]

    @property
    def grid(self) -> Mapping[str, Sequence[float]]:
        return {kind: [row[len(row) // 2]] for kind, row in zip(self.kinds, self.values, strict=True)}

    @property
    def budgets(self) -> Sequence[str]:
        return []

    @property
    def limits(self) -> FloatArray:
        return np.zeros(0)

    @property
    def spared(self) -> Sequence[str]:
        return ()

    @property
    def prior(self) -> Prior | None:
        return None

    @property
    def planned(self) -> IntArray | None:
        return None

    def costs(self, genes: IntArray) -> FloatArray:
        return np.zeros((len(genes), 0))

    def repair(self, genes: IntArray) -> IntArray:
        return np.clip(np.asarray(genes, dtype=np.int64), 0, np.array(self.levels) - 1)
