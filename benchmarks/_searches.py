"""Whole searches from one baseline, kept in folders and continued."""

from __future__ import annotations

from pathlib import Path

from pqsearch.pipeline import opened
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec


def baseline_of(spec: Spec) -> RunDirectory:
    """The run directory of a spec, with its baseline trained and nothing searched."""
    with opened(spec) as pipeline:
        pipeline.baseline()
    return RunDirectory.of(spec)


def searched(spec: Spec, baseline: RunDirectory) -> Path:
    """Search from the baseline of another run; returns the journal."""
    with opened(spec) as pipeline:
        pipeline.run.take_baseline(baseline)
        pipeline.search()
    return RunDirectory.of(spec).journal_file
