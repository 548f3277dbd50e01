"""Bytes of the stored network: weights packed layer by layer; steps, biases and batch norm (statistics too) float32."""

from __future__ import annotations

import numpy as np

from search_spaces.rows import Rows, Terms

UNIT = "bytes"
LOW, HIGH = 0, 1e15
RELATIVE = False
FLOAT_BYTES = 4


def terms(rows: Rows) -> Terms:
    """Bytes of each row."""
    packed = np.ceil(rows.weights * rows.weight_bits / 8)
    return packed + FLOAT_BYTES * (rows.steps + rows.extras + rows.statistics), None
