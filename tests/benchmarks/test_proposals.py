"""The benchmark of what a proposal costs: its rows, its peers and its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_it_times_the_algorithms_named_beside_optuna_and_writes_the_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [
        sys.executable,
        "benchmarks/proposals.py",
        "--only",
        "genetic",
        "ant_colony",
        "--results",
        "40",
        "--json",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: a bar is not met, which a busy machine may bring about
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert rows["genetic after 40 results"]["bar"] == 0.3
    assert rows["ant_colony after 40 results, by optuna TPE's"]["value"] > 0
    assert len(rows) == 5
