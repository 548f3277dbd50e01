"""How every benchmark ends: a table, a JSON file if asked for, and an exit code."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measurement. `met` is whether the value keeps to the bar; without a bar there is nothing to keep to."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    met: bool = True


def at_most(name: str, value: float, unit: str, bar: float) -> Row:
    return Row(name, value, unit, bar, value <= bar)


def at_least(name: str, value: float, unit: str, bar: float) -> Row:
    return Row(name, value, unit, bar, value >= bar)


def spread(values: Sequence[float]) -> float:
    """The standard deviation over seeds; of a single one there is none to be seen."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def json_argument(description: str) -> argparse.ArgumentParser:
    """A parser that knows `--json FILE`; benchmarks add what else they take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as a JSON list to FILE")
    return parser


def report(rows: Sequence[Row], json_path: Path | None = None) -> int:
    """Print the table and write the JSON; 0 if every bar is met, else 1."""
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        bar = "" if row.bar is None else f"  bar {row.bar:g} {row.unit}: {'met' if row.met else 'NOT MET'}"
        print(f"{row.name:<{width}}  {row.value:>12.6g} {row.unit}{bar}")
    if json_path is not None:
        write_json(json_path, [asdict(row) for row in rows])
    return 0 if all(row.met for row in rows) else 1


def write_json(path: Path, value: Any) -> None:
    """Write a value in one piece: whoever reads the file sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
