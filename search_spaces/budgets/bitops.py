"""Bit operations, macs x weight bits x activation bits, as a share of the float baseline's at 32 x 32."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "share of the float baseline"
LOW, HIGH = 0, 1
RELATIVE = True


def terms(rows: Rows) -> Terms:
    """Bit operations of each row."""
    return rows.macs * rows.weight_bits * rows.act_bits, None
