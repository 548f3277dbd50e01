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

#: (numerator, denominator) per row; a cost is the ratio of their sums, or the sum where there is no denominator.
Terms = tuple[FloatArray, FloatArray | None]


class Rows:
    """What the rows of each plan are made of; computed when a budget asks for it."""

    def __init__(
        self, of: _Constants, reads: FloatArray, writes: FloatArray, bits: tuple[IntArray, IntArray], per_channel: bool
    ) -> None:
        self._of, self._reads, self._writes, self._per_channel = of, reads, writes, per_channel
        self._given_bits = bits
        self.plans, self.count = reads.shape

    @cached_property
    def weights(self) -> FloatArray:
        """Weights of conv and linear layers, 0 elsewhere."""
        of = self._of
        reads = np.where(of.depthwise, 1.0, self._reads) if of.depthwise.any() else self._reads
        # Divided last, so that whole numbers stay whole.
        return self._writes * reads * of.kernel / of.groups

    @cached_property
    def macs(self) -> FloatArray:
        """Multiply-accumulates for one image."""
        return self.weights * self._of.positions

    @cached_property
    def extras(self) -> FloatArray:
        """Other parameters: biases, batch norm."""
        return self._writes * self._of.bias + self._reads * self._of.norm_params + self._of.others

    @cached_property
    def statistics(self) -> FloatArray:
        """Running means and variances."""
        return self._reads * self._of.norm_buffers

    @cached_property
    def inputs(self) -> FloatArray:
        """Elements that conv and linear layers read for one image."""
        return self._reads * self._of.in_size

    @cached_property
    def weight_bits(self) -> FloatArray:
        return self._bits(self._given_bits[0])

    @cached_property
    def act_bits(self) -> FloatArray:
        return self._bits(self._given_bits[1])

    @cached_property
    def steps(self) -> FloatArray:
        """Step sizes of quantisers."""
        of_weights = np.where(self.weight_bits < FLOAT_BITS, self._writes if self._per_channel else 1.0, 0.0)
        return np.where(self._of.kernel > 0, of_weights + (self.act_bits < FLOAT_BITS), 0.0)

    def at_bits(self, weight_bits: IntArray, act_bits: IntArray) -> Rows:
        """The same channels at other bits; what was computed of them stays."""
        found = copy.copy(self)
        found._given_bits = (weight_bits, act_bits)
        for name in ("weight_bits", "act_bits", "steps"):
            vars(found).pop(name, None)
        return found

    def asked_for(self) -> set[str]:
        """The names of what was computed so far."""
        return {name for name in vars(self) if not name.startswith("_")}

    def _bits(self, bits: IntArray) -> FloatArray:
        full = np.full(self._reads.shape, float(FLOAT_BITS))
        full[:, : bits.shape[1]] = bits
        return full


class Shapes:
    """Turns kept channels and bits into rows, all of them or (`part`) the few that a knob touches."""

    def __init__(self, info: ModelInfo, per_channel_steps: bool) -> None:
        layers, norms = info.layers, info.norms
        count = len(layers) + len(norms) + 1
        self.groups = np.arange(len(info.groups))  # columns of kept channels that the rows depend on
        self.layers = np.arange(len(layers))  # layers among the rows; they come first
        self._per_channel = per_channel_steps
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
            depthwise = layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels
            constants.depthwise[row] = depthwise
            constants.kernel[row] = layer.kernel_size
            constants.groups[row] = 1 if depthwise else layer.groups
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
        return found

    def rows(self, kept: IntArray, weight_bits: IntArray, act_bits: IntArray) -> Rows:
        """Rows of a population: kept channels (plans, `groups`), bits (plans, `layers`)."""
        of = self._constants
        channels = kept.astype(np.float64)
        reads = channels @ self._reads + of.reads
        writes = channels @ self._writes + of.writes
        return Rows(of, reads, writes, (weight_bits, act_bits), self._per_channel)


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
