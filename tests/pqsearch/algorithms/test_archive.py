"""What population algorithms remember, and in which order it ranks."""

from __future__ import annotations

from itertools import permutations

from pqsearch.algorithms._archive import Archive
from pqsearch.problem import Outcome


def test_a_higher_rung_ranks_before_any_value_of_a_lower_one() -> None:
    archive = Archive()
    archive.tell(0, (0,), Outcome((0.1,), 0))
    archive.tell(1, (1,), Outcome((0.9,), 1))
    archive.tell(2, (2,), Outcome((0.8,), 1))
    assert archive.ranked() == [(2,), (1,), (0,)]


def test_what_a_candidate_reached_last_counts_in_whatever_order_it_is_told() -> None:
    words = [(0, (0,), Outcome((0.1,), 0)), (0, (0,), Outcome((0.5,), 1)), (1, (1,), Outcome((0.05,), 0))]
    for order in permutations(words):
        archive = Archive()
        for word in order:
            archive.tell(*word)
        assert archive.ranked() == [(0,), (1,)]


def test_a_candidate_that_failed_is_seen_and_never_ranked() -> None:
    words = [Outcome((0.1,), 0), Outcome((), 0, failed=True)]
    for order in permutations(words):
        archive = Archive()
        for outcome in order:
            archive.tell(0, (3,), outcome)
        assert archive.ranked() == []
        assert archive.seen == {(3,)}


def test_ties_go_to_the_older_and_equal_genes_rank_once() -> None:
    archive = Archive()
    for id, genes in ((5, (5,)), (2, (2,)), (7, (2,))):
        archive.tell(id, genes, Outcome((0.3,)))
    assert archive.ranked() == [(2,), (5,)]


def test_only_the_best_are_kept_in_order_and_those_pushed_out_return_when_a_better_one_fails() -> None:
    archive = Archive(keep=2)
    for id, value in enumerate((0.3, 0.1, 0.2)):
        archive.tell(id, (id,), Outcome((value,)))
    assert archive.ranked() == [(1,), (2,)]
    archive.tell(1, (1,), Outcome((), 1, failed=True))
    assert archive.ranked() == [(2,), (0,)]
    assert archive.parents().tolist() == [[2], [0]]


def test_a_word_said_twice_is_nothing_new() -> None:
    archive = Archive()
    assert archive.tell(0, (0,), Outcome((0.1,), 0))
    assert not archive.tell(0, (0,), Outcome((0.1,), 0))
    assert archive.tell(0, (0,), Outcome((0.2,), 1))
    assert not archive.tell(0, (0,), Outcome((0.1,), 0))
