"""Named parameters as knobs: the values of each, in order, are the levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from pqsearch.box import Box
from pqsearch.errors import UserError
from pqsearch.problem import Genes

#: More values than this are a scale, not a list of levels; the algorithms' models grow with them.
MOST_VALUES = 1000


class Choices:
    """Translates between parameters by name and genes."""

    def __init__(self, values: Mapping[str, Sequence[Any]]) -> None:
        if not values:
            raise UserError("space: must name at least one parameter, got none")
        for name, row in values.items():
            _check_number(name, len(row))
        self.names = tuple(values)
        self._values = [list(row) for row in values.values()]
        self._numbers = [
            np.array(row, dtype=np.float64) if all(type(value) in (int, float) for value in row) else None
            for row in self._values
        ]

    @property
    def levels(self) -> list[int]:
        return [len(row) for row in self._values]

    def box(self) -> Box:
        # Values that are no rising numbers have no middle; their places do.
        rising = [row is not None and bool((np.diff(row) > 0).all()) for row in self._numbers]
        rows = zip(self._values, rising, strict=True)
        return Box(self.levels, [row if numbers else list(range(len(row))) for row, numbers in rows])

    def decode(self, genes: Genes) -> dict[str, Any]:
        return {name: row[level] for name, row, level in zip(self.names, self._values, genes, strict=True)}

    def encode(self, parameters: Mapping[str, Any]) -> Genes | None:
        """None where a parameter is missing or has a value that is no level. The only value of one need not be named."""
        genes = []
        for name, row, numbers in zip(self.names, self._values, self._numbers, strict=True):
            level = (
                0 if len(row) == 1 and name not in parameters else _level(row, numbers, parameters.get(name, _Missing))
            )
            if level is None:
                return None
            genes.append(level)
        return tuple(genes)


def stepped(name: str, low: float, high: float, step: float) -> list[float]:
    """`low`, `low + step`, ... up to `high`, in decimal arithmetic: 0.3 and not 0.30000000000000004."""
    start, width = Decimal(str(low)), Decimal(str(step))
    number = int((Decimal(str(high)) - start) // width) + 1
    _check_number(name, number)
    return [float(start + index * width) for index in range(number)]


def _check_number(name: str, number: int) -> None:
    if not 1 <= number <= MOST_VALUES:
        raise UserError(f"{name}: must have 1 to {MOST_VALUES} values, got {number}; a coarser step makes fewer")


class _Missing:
    """Equals no value, not even None."""


def _level(row: list[Any], numbers: Any, value: Any) -> int | None:
    if numbers is not None and type(value) in (int, float):
        nearest = int(np.abs(numbers - value).argmin())
        return nearest if np.isclose(numbers[nearest], value, rtol=1e-9, atol=1e-12) else None
    return row.index(value) if value in row else None
