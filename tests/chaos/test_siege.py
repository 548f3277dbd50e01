"""A part of `make chaos` that is short enough for every day: each kind of fault from outside once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import all_faults
from tests.chaos.siege import besiege

pytestmark = pytest.mark.long


def test_a_search_survives_each_kind_of_fault_and_loses_nothing(tmp_path: Path) -> None:
    # Candidates that do what they should not are `tests/long/test_bad_candidates.py`'s.
    kinds = [fault for fault in all_faults() if not fault.act]
    tally = besiege(tmp_path, len(kinds), seed=1, kinds=kinds)
    print(tally.table())
    assert not tally.complaints, tally.table()
    assert tally.survived.total() == len(kinds)
    assert (tally.lost, tally.twice) == (0, 0)
    assert 0 < tally.proposals == tally.proposed_alike
