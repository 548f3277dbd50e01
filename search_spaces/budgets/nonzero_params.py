"""Parameters that are not zero, as a share of the float baseline's: `params` without the weights that `sparsity` zeroes."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "share of the float baseline"
LOW, HIGH = 0, 1
RELATIVE = True


def terms(rows: Rows) -> Terms:
    """Parameters of each row that are not zeroed."""
    return rows.nonzero + rows.extras, None
