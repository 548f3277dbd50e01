"""Mean bits of the weights that are kept, over convolution and linear layers."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "bits"
LOW, HIGH = 1, 32
RELATIVE = False


def terms(rows: Rows) -> Terms:
    """Bits of each row's weights, and their number."""
    return rows.weights * rows.weight_bits, rows.weights
