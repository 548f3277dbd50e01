"""How much accuracy a plan loses against the float baseline, from the same images, and how sure that is."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Standard errors behind a limit that 95 of 100 normal values stay below: bounds here are one-sided.
ONE_SIDED = 1.645


@dataclass(frozen=True)
class Drop:
    """Points of accuracy lost, with the paired standard error over images, also in points."""

    value: float
    standard_error: float

    @property
    def high(self) -> float:
        """The drop is below this with 95 %."""
        return self.value + ONE_SIDED * self.standard_error

    @property
    def low(self) -> float:
        """The drop is above this with 95 %."""
        return self.value - ONE_SIDED * self.standard_error

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.standard_error:.2f}"


def drop_of(measurements: Sequence[Mapping[str, Any]]) -> Drop | None:
    """The mean drop of a plan's measurements; None where they were not compared with the baseline.

    Images that only the baseline gets right are `lost`, those that only the plan gets right `gained`: their difference has the
    variance of McNemar's test, half an image being added to both, so that no finite number of images gives certainty. Where
    images have scores between right and wrong, the sum of their squared differences (`squares`) takes the place of their number.
    Measuring again does not change the images, so the standard error is that of one measurement.
    """
    compared = [row for row in measurements if row.get("lost") is not None]
    if not compared:
        return None
    values, errors = [], []
    for row in compared:
        lost, gained, images = row["lost"], row["gained"], row["images"]
        value = (lost - gained) / images
        errors.append(((row.get("squares", lost + gained) + 1) / images - value**2) ** 0.5 / images**0.5)
        values.append(value)
    return Drop(100 * statistics.fmean(values), 100 * statistics.fmean(errors))
