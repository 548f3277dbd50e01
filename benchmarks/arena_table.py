"""The arena's runs as a table for documents: median and quartiles over seeds of the value in hand, smaller being better.

    python benchmarks/arena_table.py KEPT.jsonl [--evaluations 100 300 1000]

KEPT.jsonl is what `benchmarks/algorithms.py --keep` leaves. One row for each contender and arm, best first by the evaluations
in the middle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from algorithms import read
from arena_bars import Entry, Medians

from arena.names import PEERS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[100, 300, 1000])
    options = parser.parse_args()
    print("\n".join(lines(Medians(read(options.kept)), options.evaluations)))
    return 0


def lines(medians: Medians, evaluations: Sequence[int]) -> Iterator[str]:
    """The table in Markdown; contenders that went less far have empty cells."""
    middle = evaluations[len(evaluations) // 2]
    yield f"| contender | arm | n | {' | '.join(f'{number:,}' for number in evaluations)} |"
    yield f"|---|---|---|{'---|' * len(evaluations)}"
    for entry in sorted(medians.entries(), key=lambda entry: (medians.at(entry, middle), entry)):
        name, arm = entry
        cells = [_cell(medians, entry, number) for number in evaluations]
        seeds = max(len(medians.runs(entry, number)) for number in evaluations)
        yield f"| {name if name in PEERS else f'**{name}**'} | {arm} | {seeds} | {' | '.join(cells)} |"


def _cell(medians: Medians, entry: Entry, evaluations: int) -> str:
    found = [run.after(evaluations) for run in medians.runs(entry, evaluations)]
    if not found:
        return ""
    if not np.isfinite(np.median(found)):
        return "none held the budgets"
    low, median, high = np.quantile(
        found, (0.25, 0.5, 0.75), method="linear" if np.isfinite(found).all() else "nearest"
    )
    return f"{median:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
