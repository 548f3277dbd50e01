"""Parameters kept, as a share of the float baseline's: weights, biases, batch norm; step sizes are not counted."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "share of the float baseline"
LOW, HIGH = 0, 1
RELATIVE = True


def terms(rows: Rows) -> Terms:
    """Parameters of each row."""
    return rows.weights + rows.extras, None
