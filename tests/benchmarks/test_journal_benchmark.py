"""The benchmark of the journal: its rows and its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_it_reads_a_long_journal_and_commits_beside_a_bare_write(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, "benchmarks/journal.py", "--evaluations", "200", "--json", str(out)]
    done = subprocess.run([*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: a bar is not met, which a busy machine may bring about
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert rows["events of 200 evaluations: number"]["value"] == 600
    assert rows["events of 200 evaluations: read and checked"]["bar"] == 0.01
    for size in (1, 32):
        assert rows[f"commit of {size}: file, by the bare one's"]["value"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
