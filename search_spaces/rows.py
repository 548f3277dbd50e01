"""Shapes of pruned layers for whole populations: the arrays that budgets are made of.

A row is a layer, a normalisation or, last, everything that no plan changes. Arrays are (plans, rows), float64; all
entries are whole numbers far below 2^53, so sums are exact.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from pqsearch.plan import FIXED, FLOAT_BITS, ModelInfo, Source
from pqsearch.problem import FloatArray, IntArray
from pqsearch.sparsity import ROUNDING, Pattern
from search_spaces.latency import LatencyTable, Timings

#: Zeros anywhere in a layer.
ANYWHERE = Pattern()
#: (numerator, denominator) per row; a cost is the ratio of their sums, or the sum where there is no denominator.
Terms = tuple[FloatArray, FloatArray | None]


class Rows:
    """What the rows of each plan are made of; computed when a budget asks for it."""

    def __init__(
        self,
        of: _Constants,
        reads: FloatArray,
        writes: FloatArray,
        layers: tuple[IntArray, IntArray, FloatArray | None],
        per_channel: bool,
        timings: Timings | None,
        pattern: Pattern,
    ) -> None:
        self._of, self._per_channel, self._timings, self._pattern = of, per_channel, timings, pattern
        self.reads, self.writes = reads, writes  # channels
        self._given_weight_bits, self._given_act_bits, self._given_sparsity = layers
        self.plans, self.count = reads.shape

    @cached_property
    def weights(self) -> FloatArray:
        """Weights of conv and linear layers, 0 elsewhere."""
        of = self._of
        reads = np.where(of.depthwise, 1.0, self.reads) if of.depthwise.any() else self.reads
        # Divided last, so that whole numbers stay whole.
        return self.writes * reads * of.kernel / of.groups

    @cached_property
    def macs(self) -> FloatArray:
        """Multiply-accumulates for one image."""
        return self.weights * self._of.positions

    @cached_property
    def nonzero(self) -> FloatArray:
        """Weights without those that sparsity zeroes: never more than the share asked for, so that some stay."""
        if self.sparsity is None:
            return self.weights
        of, pattern = self._of, self._pattern
        reads = np.where(of.depthwise, 1.0, self.reads) if of.depthwise.any() else self.reads
        filters = self.writes if pattern.per_filter else 1.0
        of_each = reads * of.kernel / of.groups if pattern.per_filter else self.weights
        return self.weights - filters * zeros(of_each, self.sparsity, pattern)

    @cached_property
    def nonzero_macs(self) -> FloatArray:
        """Multiply-accumulates with those weights for one image."""
        return self.nonzero * self._of.positions

    @cached_property
    def extras(self) -> FloatArray:
        """Other parameters: biases, batch norm."""
        return self.writes * self._of.bias + self.reads * self._of.norm_params + self._of.others

    @cached_property
    def statistics(self) -> FloatArray:
        """Running means and variances."""
        return self.reads * self._of.norm_buffers

    @cached_property
    def inputs(self) -> FloatArray:
        """Elements that conv and linear layers read for one image."""
        return self.reads * self._of.in_size

    @cached_property
    def weight_bits(self) -> FloatArray:
        return self._of_rows(self._given_weight_bits, FLOAT_BITS)

    @cached_property
    def act_bits(self) -> FloatArray:
        return self._of_rows(self._given_act_bits, FLOAT_BITS)

    @cached_property
    def sparsity(self) -> FloatArray | None:
        """The share of each layer's weights that are to be zero; None where no layer has any."""
        return None if self._given_sparsity is None else self._of_rows(self._given_sparsity, 0)

    @cached_property
    def steps(self) -> FloatArray:
        """Step sizes of quantisers."""
        of_weights = np.where(self.weight_bits < FLOAT_BITS, self.writes if self._per_channel else 1.0, 0.0)
        return np.where(self._of.kernel > 0, of_weights + (self.act_bits < FLOAT_BITS), 0.0)

    @cached_property
    def nanoseconds(self) -> FloatArray:
        """Whole nanoseconds for one image, where there is a table of measurements. Reads no bits that make no difference."""
        timings = self._with_timings
        return timings.fastest(
            self._nanoseconds_of_kernels,
            self.weight_bits if timings.by_weight_bits else None,
            self.act_bits if timings.by_act_bits else None,
        )

    @cached_property
    def _nanoseconds_of_kernels(self) -> FloatArray:
        return self._with_timings.of_kernels(self.reads, self.writes)

    @property
    def _with_timings(self) -> Timings:
        assert self._timings is not None, "latency is no cost without a table"
        return self._timings

    def at(self, weight_bits: IntArray, act_bits: IntArray, sparsity: FloatArray | None = None) -> Rows:
        """The same channels at other bits and sparsity; what was computed of them stays."""
        found = copy.copy(self)
        found._given_weight_bits, found._given_act_bits, found._given_sparsity = weight_bits, act_bits, sparsity
        for name in ("weight_bits", "act_bits", "steps", "nanoseconds", "sparsity", "nonzero", "nonzero_macs"):
            vars(found).pop(name, None)
        return found

    def asked_for(self) -> set[str]:
        """The names of what was computed so far."""
        return {name for name in vars(self) if isinstance(getattr(type(self), name, None), cached_property)}

    def _of_rows(self, layers: IntArray | FloatArray, others: float) -> FloatArray:
        if layers.shape[1] == self.count:
            return layers.astype(np.float64)
        full = np.full(self.reads.shape, float(others))
        full[:, : layers.shape[1]] = layers
        return full


def zeros(weights: FloatArray, share: FloatArray, pattern: Pattern) -> FloatArray:
    """How many of so many weights that are looked at together are zero at a share, as a mask counts them."""
    if pattern.block:
        return np.where(share > 0, weights // pattern.block * (pattern.block - pattern.kept), 0.0)
    # A product that rounding left just below a whole number is that number.
    return np.floor(weights * share + ROUNDING)


class Shapes:
    """Turns kept channels and bits into rows, all of them or (`part`) the few that a knob touches.

    `latency` is a table that has every layer, for rows that say what they take.
    """

    def __init__(
        self,
        info: ModelInfo,
        per_channel_steps: bool,
        latency: LatencyTable | None = None,
        pattern: Pattern = ANYWHERE,
    ) -> None:
        layers, norms = info.layers, info.norms
        count = len(layers) + len(norms) + 1
        self.groups = np.arange(len(info.groups))  # columns of kept channels that the rows depend on
        self.layers = np.arange(len(layers))  # layers among the rows; they come first
        self._per_channel, self._pattern = per_channel_steps, pattern
        self._timings = Timings(latency, [layer.name for layer in layers], count) if latency is not None else None
        # Channels read = fixed + kept @ reads; channels written likewise.
        self._reads, self._writes = np.zeros((2, len(info.groups), count))
        self._constants = _Constants(count)
        constants = self._constants
        for row, layer in enumerate(layers):
            self._read(row, layer.inputs)
            if layer.output == FIXED:
                constants.writes[row] = layer.out_channels
            else:
                self._writes[layer.output, row] = 1
            constants.depthwise[row] = layer.depthwise
            constants.kernel[row] = layer.kernel_size
            constants.groups[row] = 1 if layer.depthwise else layer.groups
            constants.positions[row], constants.in_size[row] = layer.out_size, layer.in_size
            constants.bias[row] = layer.bias
        for row, norm in enumerate(norms, start=len(layers)):
            self._read(row, norm.inputs)
            constants.norm_params[row], constants.norm_buffers[row] = norm.params_per_channel, norm.buffers_per_channel
        constants.others[-1] = info.other_params

    def _read(self, row: int, sources: Sequence[Source]) -> None:
        for source in sources:
            if source.group == FIXED:
                self._constants.reads[row] += source.channels * source.repeat
            else:
                self._reads[source.group, row] += source.repeat

    def touched(self, group: int) -> IntArray:
        """Rows that change with the channels of a group."""
        return np.flatnonzero(self._reads[group] + self._writes[group])

    def part(self, rows: IntArray) -> Shapes:
        """The shapes of some rows (ascending); `groups` and `layers` say which columns its `rows` wants."""
        found = copy.copy(self)
        used = self._reads[:, rows].any(1) | self._writes[:, rows].any(1)
        found.groups = np.flatnonzero(used)
        found.layers = rows[rows < len(self.layers)]
        found._reads = self._reads[np.ix_(found.groups, rows)]
        found._writes = self._writes[np.ix_(found.groups, rows)]
        found._constants = self._constants.take(rows)
        found._timings = self._timings.take(rows) if self._timings is not None else None
        return found

    def rows(
        self, kept: IntArray, weight_bits: IntArray, act_bits: IntArray, sparsity: FloatArray | None = None
    ) -> Rows:
        """Rows of a population: kept channels (plans, `groups`), bits and sparsity (plans, `layers`)."""
        channels = kept.astype(np.float64)
        reads = channels @ self._reads + self._constants.reads
        writes = channels @ self._writes + self._constants.writes
        return self.rows_of(reads, writes, weight_bits, act_bits, sparsity)

    def rows_of(
        self,
        reads: FloatArray,
        writes: FloatArray,
        weight_bits: IntArray,
        act_bits: IntArray,
        sparsity: FloatArray | None = None,
    ) -> Rows:
        """Rows that read and write so many channels (plans, rows)."""
        layers = weight_bits, act_bits, sparsity
        return Rows(self._constants, reads, writes, layers, self._per_channel, self._timings, self._pattern)

    def by_channel(self, group: int, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Channels (rows, 1) that rows read and write more for one more of a group."""
        return self._reads[group, rows, None], self._writes[group, rows, None]


class _Constants:
    """What no plan changes, per row."""

    def __init__(self, count: int) -> None:
        self.reads, self.writes, self.kernel, self.positions, self.in_size = np.zeros((5, count))
        self.groups = np.ones(count)
        self.bias, self.norm_params, self.norm_buffers, self.others = np.zeros((4, count))
        self.depthwise = np.zeros(count, dtype=bool)

    def take(self, rows: IntArray) -> _Constants:
        found = copy.copy(self)
        for name, values in vars(self).items():
            setattr(found, name, values[rows])
        return found
