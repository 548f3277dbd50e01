"""What a run directory does about files that were never finished."""

from __future__ import annotations

from pathlib import Path

from pqsearch.run_dir import RunDirectory, write_atomically


def test_half_written_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    kept = [run.plan, run.checkpoints / "plan-0123" / "result.json", run.logs / "started-a.jsonl", tmp_path / ".notes"]
    # The spec is written before the lock is taken: its writer may be alive.
    kept.append(tmp_path / ".spec.toml-abcd1234")
    half = [tmp_path / ".plan.json-abcd1234", run.checkpoints / "plan-0123" / ".checkpoint.pth-x_9zzzzz"]
    for path in kept + half:
        write_atomically(path, "content")
    run.sweep()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
