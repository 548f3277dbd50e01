"""What a long search keeps is no work for Python's collector, and its garbage is not kept."""

from __future__ import annotations

import gc
import weakref

import pytest

from pqsearch.settling import EVERY, Settling


class Cycle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def settling() -> Settling:
    gc.unfreeze()
    return Settling()


def test_after_enough_evaluations_the_collector_looks_at_what_came_since_only(settling: Settling) -> None:
    settling.note(EVERY - 1)
    assert gc.get_freeze_count() == 0
    kept = [Cycle() for _ in range(100)]
    settling.note(EVERY)
    assert gc.get_freeze_count() > len(kept)
    frozen = gc.get_freeze_count()
    settling.note(EVERY + 1)
    assert gc.get_freeze_count() == frozen
    settling.end()
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_before(settling: Settling) -> None:
    gone = weakref.ref(Cycle())
    settling.note(EVERY)
    assert gone() is None
    settling.end()


def test_a_process_that_set_nothing_aside_keeps_what_somebody_else_did(settling: Settling) -> None:
    gc.freeze()
    settling.end()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
