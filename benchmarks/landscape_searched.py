"""The first landscape, fitted to where searches went as well: `truth/searched.json.gz` has the evaluations of whole searches.

python benchmarks/algorithms.py --landscape benchmarks/landscape_searched.py
"""

from __future__ import annotations

import landscape as first

from arena.contest import Score, Truth
from pqsearch.problem import Problem

FILES = (first.FILE, first.FILE.with_name("searched.json.gz"))


def landscape() -> tuple[Problem, Score, Truth]:
    """The problem, noisy values and true ones."""
    return first.landscape(*FILES)
