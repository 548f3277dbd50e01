"""A part of `make chaos` that is short enough for every day: faults from outside that no other test has, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import all_faults
from tests.chaos.siege import besiege

pytestmark = pytest.mark.long

#: Commands and workers that are killed, interrupted or stopped one at a time are in `test_jobs.py`, `test_worker_dies.py` and
#: `test_worker_stops.py` of `tests/long`, candidates that do what they should not in `test_bad_candidates.py`; further pairs, and
#: journals with a bit flipped, are left to `make chaos`.
DAILY = {
    "SIGKILL of a raylet",
    "SIGKILL of the GCS",
    "study actor and a worker at once",
    "command and a worker at once",
    "journal torn at every byte of an event",
}


def test_a_search_survives_faults_and_loses_nothing(tmp_path: Path) -> None:
    kinds = [fault for fault in all_faults() if fault.name in DAILY]
    assert len(kinds) == len(DAILY)
    tally = besiege(tmp_path, len(kinds), seed=1, kinds=kinds)
    print(tally.table())
    assert not tally.complaints, tally.table()
    assert tally.survived.total() == len(kinds)
    assert (tally.lost, tally.twice) == (0, 0)
    assert 0 < tally.proposals == tally.proposed_alike
