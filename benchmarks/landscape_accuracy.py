"""The first landscape by accuracy: the share of 1,000 images answered wrongly, which is noisier than the loss on them.

python benchmarks/algorithms.py --landscape benchmarks/landscape_accuracy.py
"""

from __future__ import annotations

import landscape as first

from arena.contest import Score, Truth
from pqsearch.problem import Problem


def landscape() -> tuple[Problem, Score, Truth]:
    """The problem, noisy values and true ones."""
    return first.landscape(measure="accuracy")
