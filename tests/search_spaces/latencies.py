"""Tables of latencies for models of `infos`: made up, with bumps as measurements have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pqsearch.plan import LayerInfo, ModelInfo
from search_spaces.latency import Kernel, LatencyTable

#: Weight and activation bits of kernels: a device that has fast paths for 4 and 8 bits.
KERNELS = ((4, 4), (8, 8), (32, 32))


def table_of(
    info: ModelInfo, kernels: Sequence[tuple[float, float]] = KERNELS, points: int = 3, seed: int = 0
) -> LatencyTable:
    """Whole nanoseconds that grow with channels and bits, more or less."""
    draw = np.random.default_rng(seed)
    return LatencyTable(
        {layer.name: tuple(_kernel(layer, bits, points, draw) for bits in kernels) for layer in info.layers}, "made up"
    )


def _kernel(layer: LayerInfo, bits: tuple[float, float], points: int, draw: np.random.Generator) -> Kernel:
    reads = (layer.in_channels,) if layer.depthwise else _counts(layer.in_channels, points)
    writes = _counts(layer.out_channels, points)
    width = min(sum(bits), 64)
    times = tuple(
        tuple(int(1000 + 40 * a * b + 30 * a * b * width + draw.integers(0, 300)) for b in writes) for a in reads
    )
    return Kernel(reads, writes, times, *bits)


def _counts(channels: int, points: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(channels * (step + 1) / points)) for step in range(points)}))


def file_of(info: ModelInfo, milliseconds: float = 0.01, **bits: int) -> dict[str, Any]:
    """A table as a file has it: each layer at half of its channels and at all, time in proportion to their product."""

    def rows(layer: LayerInfo) -> list[dict[str, Any]]:
        reads, writes = (sorted({max(1, n // 2), n}) for n in (layer.in_channels, layer.out_channels))
        whole = layer.in_channels * layer.out_channels
        pairs = [(n, n) for n in writes] if layer.depthwise else [(a, b) for a in reads for b in writes]
        return [
            {"in_channels": a, "out_channels": b, **bits, "ms": milliseconds * (0.1 + 0.9 * a * b / whole)}
            for a, b in pairs
        ]

    return {
        "format": 1, "unit": "ms", "batch_size": 1, "device": "a table on paper",
        "layers": {layer.name: rows(layer) for layer in info.layers},
    }  # fmt: skip
