"""FLOPs of conv and linear layers, as a share of the float baseline's (2 x multiply-accumulates on both sides)."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "share of the float baseline"
LOW, HIGH = 0, 1
RELATIVE = True


def terms(rows: Rows) -> Terms:
    """Multiply-accumulates of each row; the factor 2 cancels in the ratio."""
    return rows.macs, None
