"""The arena's runs as a table for documents: median and quartiles over seeds of the value in hand, smaller being better.

    python benchmarks/arena_table.py KEPT.jsonl [--evaluations 100 300 1000]

KEPT.jsonl is what `benchmarks/algorithms.py --keep` leaves. One row for each contender and arm, best first by the evaluations
in the middle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from algorithms import Curve, read, table
from arena_bars import Entry

from arena.names import PEERS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[100, 300, 1000])
    options = parser.parse_args()
    print("\n".join(lines(read(options.kept), options.evaluations)))
    return 0


def lines(curves: Iterable[Curve], evaluations: Sequence[int]) -> Iterator[str]:
    """The table in Markdown; contenders that went less far have empty cells."""
    # Who was told how many it would have is in the table with that number, wanted here or not.
    wanted = [row for row in table(curves, evaluations) if row["evaluations"] in evaluations]
    rows = {(row["contender"], row["arm"], row["evaluations"]): row for row in wanted}
    middle = evaluations[len(evaluations) // 2]

    def place(entry: Entry) -> tuple[float, Entry]:
        median = rows.get((*entry, middle), {}).get("median")
        return (np.inf if median is None else median), entry

    yield f"| contender | arm | n | {' | '.join(f'{number:,}' for number in evaluations)} |"
    yield f"|---|---|---|{'---|' * len(evaluations)}"
    for name, arm in sorted({(name, arm) for name, arm, _ in rows}, key=place):
        mine = [rows.get((name, arm, number)) for number in evaluations]
        seeds = max(row["seeds"] for row in mine if row is not None)
        yield f"| {name if name in PEERS else f'**{name}**'} | {arm} | {seeds} | {' | '.join(map(_cell, mine))} |"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["median"] is None:
        return "none held the budgets"
    low, high = (np.inf if row[key] is None else row[key] for key in ("low", "high"))
    return f"{row['median']:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
