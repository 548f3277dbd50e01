"""The second landscape: the same network under looser pruning and tighter bits. No setting was chosen on it.

python benchmarks/algorithms.py --landscape benchmarks/landscape_other.py
"""

from __future__ import annotations

from pathlib import Path

import landscape as first

from arena.contest import Score, Truth
from pqsearch.problem import Problem

FILE = Path(__file__).resolve().parent / "truth" / "other.json.gz"


def landscape() -> tuple[Problem, Score, Truth]:
    """The problem, noisy values and true ones."""
    return first.landscape(FILE)
