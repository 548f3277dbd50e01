"""Mean bits of the elements that convolution and linear layers read; a shared tensor counts once per reader."""

from __future__ import annotations

from search_spaces.rows import Rows, Terms

UNIT = "bits"
LOW, HIGH = 1, 32
RELATIVE = False


def terms(rows: Rows) -> Terms:
    """Bits of each row's input elements for one image, and their number."""
    return rows.inputs * rows.act_bits, rows.inputs
