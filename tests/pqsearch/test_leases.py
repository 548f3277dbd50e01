"""Who holds what: each task one seat, oldest first, and what may have taken a worker down goes out alone."""

from __future__ import annotations

from pqsearch.leases import Leases
from pqsearch.study_fold import Fold, Task


def _state(*keys: tuple[int, int]) -> Fold:
    state = Fold()
    for id, repeat in keys:
        task = Task(id, repeat)
        state.tasks[id, repeat] = state.open[id, repeat] = task
        state.opened_tasks.append((id, repeat))
    return state


def _end(state: Fold, leases: Leases, key: tuple[int, int]) -> None:
    del state.open[key]
    leases.end(key)


def test_probes_come_first_then_the_oldest_candidates() -> None:
    leases = Leases(_state((3, 0), (0, 1), (0, 0), (-1, 0)))
    assert leases.hand("a", 4) == [(-1, 0), (0, 0), (0, 1), (3, 0)]
    assert not leases.waits()


def test_a_seat_is_given_what_it_was_given_before_and_does_not_know_of() -> None:
    leases = Leases(_state((0, 0), (1, 0), (2, 0)))
    assert leases.hand("a", 1) == [(0, 0)]
    assert leases.hand("a", 1) == [(0, 0)], "the answer may have been lost"
    assert leases.hand("a", 1, [(0, 0)]) == [(1, 0)]
    assert leases.hand("b", 2) == [(2, 0)]


def test_what_a_seat_gives_back_is_handed_out_again() -> None:
    leases = Leases(_state((0, 0), (1, 0)))
    leases.hand("a", 2)
    assert leases.give_back("a") == [(0, 0), (1, 0)]
    assert leases.hand("b", 1) == [(0, 0)]


def test_a_suspect_is_handed_out_alone_and_nothing_beside_it() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    state.tasks[0, 0].suspect = True
    leases = Leases(state)
    assert leases.hand("a", 3) == [(0, 0)]
    assert leases.hand("a", 3, [(0, 0)]) == []
    assert leases.hand("b", 2) == [(1, 0), (2, 0)]


def test_a_seat_that_holds_something_is_given_no_suspect() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    leases = Leases(state)
    assert leases.hand("a", 1) == [(0, 0)]
    state.tasks[1, 0].suspect = True
    assert leases.hand("a", 1, [(0, 0)]) == [(2, 0)]
    assert leases.waits()
    assert leases.hand("b", 1) == [(1, 0)]


def _sharing(state: Fold, **gpus: str) -> Leases:
    leases = Leases(state)
    for seat, gpu in gpus.items():
        leases.sit(seat, gpu)
    return leases


def test_what_found_its_share_too_small_gets_a_gpu_once_nobody_else_uses_it() -> None:
    state = _state((0, 0), (1, 0), (2, 0), (3, 0), (4, 0))
    leases = _sharing(state, a="gpu 0", b="gpu 0", c="gpu 1")
    assert leases.hand("a", 1) == [(0, 0)]
    assert leases.hand("b", 1) == [(1, 0)]
    state.tasks[0, 0].suspect = state.tasks[0, 0].crowded = True
    leases.put_back((0, 0))
    assert leases.hand("a", 1) == [], "b is at work"
    assert leases.hand("b", 1, [(1, 0)]) == [], "and is given nothing more meanwhile"
    assert leases.hand("c", 1) == [(2, 0)], "which does not concern another GPU"
    _end(state, leases, (1, 0))
    assert leases.hand("b", 2) == [(0, 0)]
    assert leases.hand("a", 1) == []
    _end(state, leases, (0, 0))
    assert leases.hand("a", 1) == [(3, 0)]


def test_a_gpu_is_not_kept_for_what_has_ended_elsewhere_or_by_those_who_are_gone() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    state.tasks[0, 0].suspect = state.tasks[0, 0].crowded = True
    leases = _sharing(state, a="gpu 0", b="gpu 0")
    assert leases.hand("a", 1) == [(0, 0)]
    assert leases.hand("b", 1) == []
    leases.give_back("a")
    assert leases.hand("b", 1) == [(0, 0)], "it is alone there now"
    leases.give_back("b")
    leases.sit("c", None)
    assert leases.hand("c", 3) == [(0, 0)], "a whole GPU of its own"
    _end(state, leases, (0, 0))
    leases.sit("a", "gpu 0")
    assert leases.hand("a", 2) == [(1, 0), (2, 0)]


def test_who_says_late_that_it_holds_what_needs_a_gpu_for_itself_waits_for_the_others_too() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    leases = _sharing(state, a="gpu 0", b="gpu 0")
    assert leases.hand("a", 1) + leases.hand("b", 1) == [(0, 0), (1, 0)]
    state.tasks[0, 0].suspect = state.tasks[0, 0].crowded = True
    leases.put_back((0, 0))
    assert leases.hand("a", 1, [(0, 0)]) == [], "asked while it was still at it"
    assert leases.hand("a", 1) == [], "b is at work"
    assert leases.hand("b", 1, [(1, 0)]) == []
    _end(state, leases, (1, 0))
    assert leases.hand("b", 1) == [(0, 0)]
    assert leases.hand("a", 1) == []


def test_two_that_need_the_same_gpu_for_themselves_have_it_one_after_the_other_whoever_says_late_to_hold_them() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    for key in [(0, 0), (1, 0)]:
        state.tasks[key].suspect = state.tasks[key].crowded = True
    leases = _sharing(state, a="gpu 0", b="gpu 0")
    leases.claim("a", [(0, 0)])
    leases.claim("b", [(1, 0)])
    assert leases.hand("a", 1) == []
    assert leases.hand("b", 1) == [(1, 0)]
    assert leases.hand("a", 1) == []
    _end(state, leases, (1, 0))
    assert leases.hand("a", 1) == [(0, 0)]
    assert leases.hand("b", 1) == []


def test_a_gpu_stays_with_what_needs_it_for_itself_when_the_study_begins_anew() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    state.tasks[0, 0].suspect = state.tasks[0, 0].crowded = True
    leases = _sharing(state, a="gpu 0", b="gpu 0", c="gpu 1")
    leases.keep()
    leases.claim("a", [(0, 0)])
    state.tasks[3, 0] = state.open[3, 0] = Task(3, 0)
    state.opened_tasks.append((3, 0))
    assert leases.hand("b", 1) == [], "a has the GPU for itself"
    assert leases.hand("c", 1) == [(3, 0)]


def test_a_gpu_counts_as_used_while_nobody_knows_who_is_at_work_there() -> None:
    state = _state((0, 0), (1, 0))
    state.tasks[0, 0].suspect = state.tasks[0, 0].crowded = True
    leases = _sharing(state, a="gpu 0", b="gpu 0")
    leases.keep()
    leases.put_back((0, 0))
    assert leases.hand("a", 1) == [], "b may be at the other one"
    leases.expect(["a", "b"])
    leases.claim("b", [])
    assert leases.hand("a", 1) == [(0, 0)]


def test_a_study_that_begins_anew_leaves_seats_what_they_hold() -> None:
    leases = Leases(_state((0, 0), (1, 0), (2, 0)))
    assert leases.hand("b", 1, [(0, 0), (1, 0)]) == [(2, 0)]
    assert leases.hand("a", 3) == []
    assert leases.give_back("b") == [(0, 0), (1, 0), (2, 0)]


def test_what_may_be_with_a_worker_is_given_to_nobody_until_all_have_said_what_they_hold() -> None:
    state = _state((0, 0), (1, 0), (2, 0))
    leases = Leases(state)
    leases.keep()
    assert len(leases) == 3
    assert leases.hand("b", 1) == [], "a may be at it"
    leases.expect(["a", "b"])
    assert leases.hand("b", 1) == []
    leases.claim("a", [(0, 0)])
    assert leases.hand("b", 3) == [(1, 0), (2, 0)]
    assert leases.give_back("a") == [(0, 0)]


def test_who_is_gone_or_speaks_before_anybody_is_expected_is_waited_for_no_more() -> None:
    state = _state((0, 0), (1, 0))
    leases = Leases(state)
    leases.keep()
    leases.give_back("a")
    leases.claim("b", [])
    leases.expect(["a", "b", "c"])
    assert leases.hand("b", 2) == []
    leases.give_back("c")
    assert leases.hand("b", 2) == [(0, 0), (1, 0)]


def test_what_is_over_or_comes_after_the_new_beginning_is_not_kept() -> None:
    state = _state((0, 0), (1, 0))
    leases = Leases(state)
    leases.keep()
    _end(state, leases, (0, 0))
    assert len(leases) == 1
    state.tasks[2, 0] = state.open[2, 0] = Task(2, 0)
    state.opened_tasks.append((2, 0))
    assert leases.hand("a", 3) == [(2, 0)]
    leases.put_back((1, 0))
    assert leases.hand("b", 1) == [(1, 0)]


def test_what_has_ended_is_nobodys() -> None:
    state = _state((0, 0))
    leases = Leases(state)
    leases.hand("a", 1)
    _end(state, leases, (0, 0))
    assert len(leases) == 0
    assert leases.hand("a", 1) == []
