"""A part of `make chaos` that is short enough for every day: faults from outside that no other test has, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import all_faults
from tests.chaos.siege import besiege

pytestmark = pytest.mark.long

#: These are hit in `test_jobs.py`, `test_worker_dies.py` and `test_worker_stops.py` of `tests/long`; candidates that do what they
#: should not are `test_bad_candidates.py`'s.
ELSEWHERE = {
    "SIGKILL of the command",
    "SIGTERM of the command",
    "SIGINT of the command",
    "SIGKILL of a worker",
    "a worker stopped (SIGSTOP)",
}


def test_a_search_survives_faults_and_loses_nothing(tmp_path: Path) -> None:
    faults = all_faults()
    assert {fault.name for fault in faults} > ELSEWHERE
    kinds = [fault for fault in faults if not fault.act and fault.name not in ELSEWHERE]
    tally = besiege(tmp_path, len(kinds), seed=1, kinds=kinds)
    print(tally.table())
    assert not tally.complaints, tally.table()
    assert tally.survived.total() == len(kinds)
    assert (tally.lost, tally.twice) == (0, 0)
    assert 0 < tally.proposals == tally.proposed_alike
