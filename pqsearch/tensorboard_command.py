"""`pqsearch tensorboard RUN_DIR`: the plans of a run for TensorBoard, also while it searches."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from pqsearch.errors import UserError
from pqsearch.event_files import EventFiles
from pqsearch.journal.lock import Lock
from pqsearch.run_dir import RunDirectory, writable
from pqsearch.store_session import looking_on
from pqsearch.study import read_study
from pqsearch.study_fold import ENDED
from pqsearch.study_state import StudyState

#: Plans that are written unless more are asked for: TensorBoard reads every one of their folders again and again.
MOST_PLANS = 1000
#: How often a search is looked at, at most, and the share of the time that this may take.
EVERY_SECONDS, MOST_OF_TIME = 5.0, 0.1


def write_event_files(
    run_dir: str | Path, *, most: int = MOST_PLANS, follow: bool = False, say: Callable[[str], None] = lambda text: None
) -> Path:
    """Write a run's candidates anew into its folder `tensorboard`, and go on while it searches where that is to be followed.

    Returns the folder. Raises `UserError` where there is no search, or another process does the same.
    """
    run = RunDirectory.existing(run_dir)
    if most < 1:
        raise UserError(f"--plans {most}: must be a whole number, at least 1")
    if not run.journal.exists():
        raise UserError(f"{run.path}: no search has begun here; `pqsearch search SPEC` begins it, then run this again")
    looking = looking_on(run.store if follow else None)
    with looking, writable(run.path), Lock(run.path / "tensorboard.lock", wait_seconds=0.0):
        fresh = run.tensorboard.with_name(f".{run.tensorboard.name}-new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        began = time.monotonic()
        state = read_study(run.journal)
        files = EventFiles(fresh, most)
        files.follow(state)
        shutil.rmtree(run.tensorboard, ignore_errors=True)
        fresh.replace(run.tensorboard)
        files.folder = run.tensorboard
        say(_sentence(run.tensorboard, state, most))
        say(f"tensorboard --logdir {run.tensorboard}")
        while follow and not state.finished:
            time.sleep(max(EVERY_SECONDS, (time.monotonic() - began) / MOST_OF_TIME))
            began = time.monotonic()
            state = read_study(run.journal)
            files.follow(state)
        if follow:
            say(_sentence(run.tensorboard, state, most))
    return run.tensorboard


def _sentence(folder: Path, state: StudyState, most: int) -> str:
    ended = sum(state.counts[kind] for kind in ENDED)
    if ended <= most:
        return f"{folder}: {ended} plans"
    return f"{folder}: the {most} leading ones of {ended} plans (--plans {ended} writes all)"
