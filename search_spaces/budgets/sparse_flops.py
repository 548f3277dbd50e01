"""FLOPs of weights that are not zeroed by `sparsity`, as a share of the float baseline's: where zeros are skipped."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "share of the float baseline"
LOW, HIGH = 0, 1
RELATIVE = True


def terms(rows: Rows) -> Terms:
    """Multiply-accumulates of each row that are not with a zeroed weight."""
    return rows.nonzero_macs, None
