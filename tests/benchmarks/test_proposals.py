"""The benchmark of what a proposal costs: its rows, its peers and its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def _rows(tmp_path: Path, *names: str) -> dict[str, Any]:
    out = tmp_path / "rows.json"
    command = [
        sys.executable,
        "benchmarks/proposals.py",
        "--only",
        *names,
        "--results",
        "40",
        "--json",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: a bar is not met, which a busy machine may bring about
    return {row["name"]: row for row in json.loads(out.read_text())}


def test_it_times_the_algorithms_named_beside_optuna_and_writes_the_rows(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "genetic", "ant_colony")
    assert rows["genetic after 40 results"]["bar"] == 0.3
    assert rows["ant_colony after 40 results, by optuna TPE's"]["value"] > 0
    assert len(rows) == 5


@pytest.mark.release
def test_the_default_is_timed_one_at_a_time_and_with_two_objectives_too(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "surrogate_exchange")
    for words in ("", ", one at a time", ", one at a time, two objectives"):
        assert rows[f"surrogate_exchange after 40 results{words}"]["bar"] == 50
