"""The script for Slurm, run as a rehearsal: a real head and a real worker, searched on and ended again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import write_spec

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parent.parent.parent


def _commands(folder: Path) -> str:
    """A PATH on which `ray` and `pqsearch` are those of this interpreter."""
    calls = {
        "ray": "-c 'import sys; from ray.scripts.scripts import main; sys.exit(main())'",
        "pqsearch": "-m pqsearch",
    }
    folder.mkdir()
    for name, call in calls.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {call} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def _left_of(script: int) -> list[str]:
    """What still runs of Ray in the folder that the script gave it."""
    folder = f"/tmp/pqsearch-{os.getuid()}-{script}/"
    found = []
    for process in psutil.process_iter():
        try:
            if any(folder in word for word in process.cmdline()):
                found.append(" ".join(process.cmdline())[:100])
        except psutil.Error:
            continue
    return found


def test_a_head_and_a_worker_search_together_and_leave_nothing_behind(tmp_path: Path) -> None:
    write_spec(tmp_path, study__run_dir="run", study__evaluations=8)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RAY_"))}
    environment = {**clean, "PATH": _commands(tmp_path / "bin"), "PYTHONPATH": str(ROOT)}
    rendered = subprocess.run(
        ["pqsearch", "cluster", "slurm", "spec.toml", "--workers-per-node", "1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (tmp_path / "job.sh").write_text(rendered.stdout)
    script = subprocess.Popen(
        ["bash", "job.sh"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said, _ = script.communicate(timeout=1200)

    assert script.returncode == 0, said
    assert "rehearsing with 2 nodes on this machine" in said
    assert json.loads((tmp_path / "run" / "summary.json").read_text())
    # One worker fits on a node, so both nodes took part.
    events = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert {event["worker"] for event in events if "worker" in event} >= {"worker-0", "worker-1"}
    assert _left_of(script.pid) == []
    assert not Path(f"/tmp/pqsearch-{os.getuid()}-{script.pid}").exists()
