"""Time by measurement: nanoseconds of each layer at channels and bits, read off a table of measurements."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pqsearch.problem import FloatArray, IntArray

#: A kernel that any bits can use.
ANY_BITS = float("inf")


@dataclass(frozen=True)
class Kernel:
    """One way to compute a layer, measured over a grid of channels read and written (ascending).

    `nanoseconds` (one row for each of `reads`) are whole numbers for one image. The kernel can compute every plan of at most
    its bits. With one entry in `reads` the channels read make no difference.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    nanoseconds: tuple[tuple[int, ...], ...]
    weight_bits: float = ANY_BITS
    act_bits: float = ANY_BITS


@dataclass(frozen=True)
class LatencyTable:
    """The kernels of every layer by name; `words` say where and how they were measured."""

    layers: Mapping[str, tuple[Kernel, ...]]
    words: str


class Timings:
    """The table as arrays over rows, ready for whole populations. Rows that are no layers take no time.

    All arrays begin (rows, kernels). Places that a row has no kernel for have 0 bits, which serve no plan.
    """

    def __init__(self, table: LatencyTable, layers: Sequence[str], rows: int) -> None:
        listed = [table.layers[name] for name in layers]
        kernels = max(map(len, listed), default=1)
        most_reads, most_writes = (
            max((len(getattr(one, side)) for found in listed for one in found), default=1)
            for side in ("reads", "writes")
        )
        self._reads, self._writes = (
            np.full((rows, kernels, most_reads), np.inf),
            np.full((rows, kernels, most_writes), np.inf),
        )
        self._reads[..., 0] = self._writes[..., 0] = 0
        self._last_read, self._last_write = np.zeros((2, rows, kernels), dtype=np.int64)
        self._nanoseconds = np.zeros((rows, kernels, most_reads, most_writes))
        self._weight_bits, self._act_bits = np.zeros((2, rows, kernels))
        for row, found in enumerate(listed):
            for place, kernel in enumerate(found):
                reads, writes = len(kernel.reads), len(kernel.writes)
                self._reads[row, place, :reads], self._writes[row, place, :writes] = kernel.reads, kernel.writes
                self._last_read[row, place], self._last_write[row, place] = reads - 1, writes - 1
                self._nanoseconds[row, place, :reads, :writes] = _never_less(kernel.nanoseconds)
                self._weight_bits[row, place], self._act_bits[row, place] = kernel.weight_bits, kernel.act_bits
        #: Whether bits make a difference at all.
        self.by_weight_bits, self.by_act_bits = (
            any(getattr(one, side) != ANY_BITS for found in listed for one in found)
            for side in ("weight_bits", "act_bits")
        )

    def take(self, rows: IntArray) -> Timings:
        """The same, of some rows."""
        found = copy.copy(self)
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                setattr(found, name, values[rows])
        return found

    def of_kernels(self, reads: FloatArray, writes: FloatArray) -> FloatArray:
        """Whole nanoseconds (plans, rows, kernels) of every kernel at channels (plans, rows).

        Bilinear between channels that were measured; below the fewest it takes what these take.
        """
        low_read, high_read, along_reads = _between(self._reads, self._last_read, reads)
        low_write, high_write, along_writes = _between(self._writes, self._last_write, writes)
        row, kernel = np.ogrid[: self._reads.shape[0], : self._reads.shape[1]]

        def at_reads(write: IntArray) -> FloatArray:
            low = self._nanoseconds[row, kernel, low_read, write]
            return low + along_reads * (self._nanoseconds[row, kernel, high_read, write] - low)

        low = at_reads(low_write)
        return np.rint(low + along_writes * (at_reads(high_write) - low))

    def fastest(
        self, of_kernels: FloatArray, weight_bits: FloatArray | None, act_bits: FloatArray | None
    ) -> FloatArray:
        """Nanoseconds (plans, rows) of the fastest kernel that serves the bits (plans, rows), which are None where they make
        no difference. Bits that no kernel serves take as long as the slowest one.
        """
        serves = np.ones(of_kernels.shape, dtype=bool)
        if weight_bits is not None:
            serves &= self._weight_bits >= weight_bits[..., None]
        if act_bits is not None:
            serves &= self._act_bits >= act_bits[..., None]
        best = np.where(serves, of_kernels, np.inf).min(axis=2)
        return np.where(np.isfinite(best), best, of_kernels.max(axis=2))


def _never_less(nanoseconds: Sequence[Sequence[int]]) -> IntArray:
    """Measurements (reads, writes) under which more channels never take less time.

    Repair fills a plan on the understanding that raising a knob costs something, and noise in a measurement must not make a
    wider layer the cheaper one. The running maximum never says less than what was measured, so a plan that holds the budget by
    it also holds it by the measurements.
    """
    found = np.asarray(nanoseconds, dtype=np.int64)
    return np.maximum.accumulate(np.maximum.accumulate(found, axis=0), axis=1)


def _between(measured: FloatArray, last: IntArray, channels: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """For channels (plans, rows) the places of the measured neighbours and how far along they are, each (plans, rows, kernels)."""
    wanted = channels[..., None]
    low = np.clip((measured <= wanted[..., None]).sum(axis=3) - 1, 0, last)
    high = np.minimum(low + 1, last)
    row, kernel = np.ogrid[: measured.shape[0], : measured.shape[1]]
    start = measured[row, kernel, low]
    share = (wanted - start) / np.maximum(measured[row, kernel, high] - start, 1)
    return low, high, np.clip(share, 0, 1)
