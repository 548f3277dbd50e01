"""Who sits where, and whose end is told twice."""

from __future__ import annotations

from pqsearch.seats import MOST_SETUPS, UNHEARD, Seats


def test_the_end_of_one_that_was_given_up_counts_once() -> None:
    seats = Seats()
    seats.take("a", "first")
    assert seats.leave("a", None, "silent", died=True)
    seats.give_up("a", "first")
    assert seats.is_lost("a") and not seats.lives("a", "first")
    assert not seats.leave("a", None, "its process is gone", died=True)
    seats.take("a", "second")
    assert not seats.is_lost("a") and seats.lives("a", "second") and seats.hopeless is None


def test_one_who_left_a_seat_that_another_has_changes_nothing() -> None:
    seats = Seats()
    seats.take("a", "second")
    assert not seats.leave("a", "first", "late", died=True)
    assert seats.at("a") == "second"


def test_a_set_up_that_the_worker_told_of_is_not_counted_again_when_it_ends() -> None:
    seats = Seats()
    for _ in range(MOST_SETUPS - 1):
        seats.setup_failed("a", "no data")
        assert seats.leave("a", None, "its process is gone", died=True)
    assert seats.hopeless is None
    assert seats.leave("a", None, "it never sat down", died=True)
    assert seats.hopeless == (
        f"a could not work {MOST_SETUPS} times: it never sat down; mend that, then the same command continues"
    )


def test_what_worked_in_between_makes_set_ups_count_from_the_beginning() -> None:
    seats = Seats()
    for _ in range(MOST_SETUPS - 1):
        seats.setup_failed("a", "no data")
    seats.works("a")
    seats.setup_failed("a", "no data")
    seats.setup_failed("b", "no data")
    assert seats.hopeless is None


def test_one_that_is_only_expected_is_known_by_its_first_sign_of_life() -> None:
    seats = Seats()
    seats.expect("a")
    assert len(seats) == 1 and seats.at("a") == UNHEARD
    assert seats.lives("a", "first") and seats.at("a") == "first"
    seats.expect("a")
    assert seats.at("a") == "first"
