"""Milliseconds of one image by the table of `[latency]`: the sum of what its layers take one after the other."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "ms"
LOW, HIGH = 0, 1e9
RELATIVE = False
#: Terms are whole nanoseconds, so that sums are exact; so many make one of the unit.
SCALE = 1_000_000
#: The key of the spec without which there is no such cost.
NEEDS = "latency.table"


def terms(rows: Rows) -> Terms:
    """Nanoseconds of each row."""
    return rows.nanoseconds, None
