"""The landscape of `landscape_searched.py` by accuracy: the share of 1,000 images answered wrongly.

python benchmarks/algorithms.py --landscape benchmarks/landscape_searched_accuracy.py
"""

from __future__ import annotations

import landscape as first
from landscape_searched import FILES

from arena.contest import Score, Truth
from pqsearch.problem import Problem


def landscape() -> tuple[Problem, Score, Truth]:
    """The problem, noisy values and true ones."""
    return first.landscape(*FILES, measure="accuracy")
