"""What a page shows beside the fold: pieces of work, rungs passed, reasons, hours."""

from __future__ import annotations

from pathlib import Path

from pqsearch.dashboard import tracks
from pqsearch.dashboard.watched import Watched
from pqsearch.study_state import StudyState
from tests.pqsearch.dashboard.small_study import begin, search

REPORT = {"type": "reported", "repeat": 0, "accuracy": 0.5, "images": 10, "loss": 1.0, "worker": "w", "weights": None}


def _followed(folder: Path) -> Watched:
    run = begin(folder)
    search(run)
    watched = Watched(run)
    watched.follow()
    return watched


def test_every_measurement_is_a_piece_of_the_worker_that_made_it(tmp_path: Path) -> None:
    watched = _followed(tmp_path)
    measured = sum(len(row["measurements"]) for row in watched.state.candidates())
    pieces = watched.tracks.pieces
    assert sum(piece.id >= 0 for piece in pieces) == measured
    assert {piece.worker for piece in pieces} == set(watched.tracks.workers()) == {"worker-0"}


def test_a_failure_is_counted_with_its_reason_at_its_rung(tmp_path: Path) -> None:
    followed = _followed(tmp_path).tracks
    assert followed.reasons == {"RuntimeError: <b>out of memory</b>": 1}
    assert (followed.passed[0].failed, followed.passed[0].went_on, followed.passed[1].went_on) == (1, 5, 5)
    assert [fall.id for fall in followed.falls] == [3]


def test_worker_hours_grow_from_candidate_to_candidate(tmp_path: Path) -> None:
    watched = _followed(tmp_path)
    hours = [watched.tracks.hours[id] for id in watched.state.ended if id in watched.tracks.hours]
    assert hours == sorted(hours) and hours[-1] <= watched.state.worker_seconds / 3600


def test_what_one_worker_reports_at_once_was_done_one_after_the_other() -> None:
    found = tracks.Tracks()
    for seconds in (3.0, 2.0, 1.0):
        found._work({**REPORT, "time": 10.0, "seconds": {"train": seconds}}, 0, 0, 0.5)
    assert [(piece.began, piece.ended) for piece in found.pieces] == [(4.0, 7.0), (7.0, 9.0), (9.0, 10.0)]


def test_busy_is_the_share_of_the_time_since_each_worker_began() -> None:
    found = tracks.Tracks()
    for worker, time, seconds in (("a", 10.0, 10.0), ("b", 6.0, 1.0), ("b", 10.0, 2.0)):
        found._work({**REPORT, "worker": worker, "time": time, "seconds": {"train": seconds}}, 0, 0, 0.5)
    assert found.busy() == 13 / 15
    assert tracks.Tracks().busy() is None


def test_many_reasons_are_kept_few_and_short() -> None:
    found, state = tracks.Tracks(), StudyState()
    for number in range(3 * tracks.MOST_REASONS):
        reason = f"reason {number} " + "x" * 1000
        event = {"type": "failed", "id": -1, "repeat": 0, "rung": 0, "reason": reason, "worker": "w", "time": 1.0}
        found.apply(event, state)
    assert len(found.reasons) == tracks.MOST_REASONS + 1
    assert max(map(len, found.reasons)) == tracks.REASON_LENGTH
