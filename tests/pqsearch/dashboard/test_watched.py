"""A run is followed from beside it: incrementally, without its lock, and alike to reading it whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqsearch.dashboard.watched import Watched
from pqsearch.errors import UserError
from pqsearch.journal.lock import Lock
from pqsearch.local import run_locally
from pqsearch.study import read_study
from tests.pqsearch.dashboard.small_study import begin, evaluate, opened, search


def test_a_run_without_a_journal_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no search has begun here") as error:
        Watched(begin(tmp_path))
    assert len(error.value.problems) == 1


def test_following_step_by_step_comes_to_what_the_whole_journal_says(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)
    watched = Watched(run)
    assert watched.follow()
    half = watched.events
    assert not watched.follow()
    search(run)
    assert watched.follow()
    whole = read_study(run.journal)
    assert watched.events > half
    assert watched.state.candidates() == whole.candidates()
    assert watched.state.progress() == whole.progress()
    assert not watched.state.opened_tasks


def test_a_study_that_someone_holds_can_be_followed(tmp_path: Path) -> None:
    run = begin(tmp_path)
    with opened(run) as found:
        watched = Watched(run)
        watched.follow()
        assert watched.begun and not watched.state.by_id
        run_locally(found.study, evaluate, "worker-0", 2)
        assert watched.follow() and watched.state.by_id


def test_trouble_with_the_journal_is_kept_and_passes(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)
    watched = Watched(run)
    watched.follow()
    away = run.journal_file.with_name("away")
    run.journal_file.rename(away)
    assert watched.try_to_follow() and "cannot be read" in str(watched.trouble)
    away.rename(run.journal_file)
    assert watched.try_to_follow() and watched.trouble is None


def test_who_is_at_work_is_known_without_taking_the_lock(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=2)
    watched = Watched(run)
    assert watched.holder() is None
    with Lock(run.lock):
        holder = watched.holder()
        assert holder is not None and holder.alive and holder.words.startswith("process ")
    assert watched.holder() is None


def test_a_lock_whose_holder_was_killed_says_so_and_one_of_another_machine_is_unsure(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=2)
    watched = Watched(run)
    with Lock(run.lock):
        words = run.lock.read_text()
    run.lock.write_text(words)
    holder = watched.holder()
    assert holder is not None and holder.alive is False
    run.lock.write_text("process 1 on another-machine since 2026-01-01 00:00:00 (pqsearch)")
    holder = watched.holder()
    assert holder is not None and holder.alive is None
