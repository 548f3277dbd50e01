"""Non-dominated fronts, crowding, and the archive that keeps what survives them."""

from __future__ import annotations

import numpy as np
import pytest

from pqsearch.algorithms._front_archive import FrontArchive
from pqsearch.algorithms._fronts import crowding, dominates, fronts
from pqsearch.problem import Outcome

Word = tuple[int, Outcome]


def test_a_point_dominates_where_it_is_nowhere_worse_and_somewhere_better() -> None:
    points = np.array([[1.0, 2.0], [1.0, 3.0], [0.0, 4.0], [1.0, 2.0]])
    assert dominates(points[:1], points).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_a_front_is_what_nobody_dominates_once_those_before_it_are_gone(objectives: int) -> None:
    values = np.random.default_rng(objectives).integers(0, 6, (60, objectives)).astype(float)
    found = fronts(values)
    left = np.arange(len(values))
    for front in range(found.max() + 1):
        beaten = dominates(values[left], values[left]).any(0)
        assert found[left[~beaten]].tolist() == [front] * int((~beaten).sum())
        left = left[beaten]
    assert not len(left)


def test_of_one_objective_every_value_is_a_front() -> None:
    assert fronts(np.array([[0.3], [0.1], [0.3], [0.2]])).tolist() == [2, 0, 2, 1]


def test_no_points_have_no_fronts() -> None:
    assert fronts(np.empty((0, 2))).tolist() == []


def test_fronts_past_enough_points_are_not_told_apart() -> None:
    assert fronts(np.array([[0.0], [1.0], [2.0], [3.0]]), enough=2).tolist() == [0, 1, 2, 2]


def test_room_is_the_gap_between_the_neighbours_as_a_share_of_the_front() -> None:
    values = np.array([[0.0, 10.0], [4.0, 2.0], [1.0, 6.0], [10.0, 0.0]])
    assert crowding(values) == pytest.approx([np.inf, 0.9 + 0.6, 0.4 + 0.8, np.inf])


def test_who_equals_an_older_point_has_no_room_and_takes_none() -> None:
    values = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]])
    assert crowding(values[[0, 1, 1, 2, 0]]) == pytest.approx([np.inf, 2.0, 0.0, np.inf, 0.0])


def _told(words: list[Word], keep: int) -> list[int]:
    archive = FrontArchive(keep)
    for step, (id, outcome) in enumerate(words):
        archive.tell(id, (id,), outcome)
        if step % 7 == 0:
            archive.ranked()
    return [genes[0] for genes in archive.ranked()]


def _sorted_at_once(words: list[Word], keep: int) -> list[int]:
    """Environmental selection of the textbook, from the last word of every candidate."""
    last: dict[int, Outcome] = {}
    for id, outcome in sorted(words, key=lambda word: (word[0], word[1].rung, word[1].failed)):
        last[id] = outcome
    chosen: list[int] = []
    for rung in (2, 1, 0):
        ids = np.array([id for id, outcome in last.items() if outcome.rung == rung and not outcome.failed], dtype=int)
        values = np.array([last[id].values for id in ids.tolist()])
        found = fronts(values) if len(ids) else np.empty(0, dtype=np.int64)
        for front in range(len(ids)):
            members = np.flatnonzero(found == front)
            if len(members):
                chosen += ids[members[np.argsort(-crowding(values[members]), kind="stable")]].tolist()
    return chosen[:keep]


def _history(rng: np.random.Generator, objectives: int) -> list[Word]:
    """Sixty candidates with coarse values, so that many are equal; some climb, some fail on the way."""
    words: list[Word] = []
    for id in range(60):
        for rung in range(3):
            words.append((id, Outcome(tuple(map(float, rng.integers(0, 8, objectives))), rung)))
            if rng.random() < 0.6:
                break
            if rng.random() < 0.2:
                words.append((id, Outcome((), rung + 1, failed=True)))
                break
    return words


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("keep", [2, 7])
def test_survivors_are_those_of_the_whole_history_in_whatever_order_it_came(objectives: int, keep: int) -> None:
    rng = np.random.default_rng(keep * 10 + objectives)
    for _ in range(15):
        words = _history(rng, objectives)
        expected = _sorted_at_once(words, keep)
        for _ in range(3):
            shuffled = [words[index] for index in rng.permutation(len(words))]
            assert _told(shuffled + shuffled[:20], keep) == expected


def test_what_can_never_survive_is_forgotten() -> None:
    rng = np.random.default_rng(0)
    archive = FrontArchive(8)
    for id, values in enumerate(rng.random((3000, 2)).tolist()):
        archive.tell(id, (id,), Outcome(tuple(values)))
    assert len(archive.ranked()) == 8
    assert sum(len(band.ids) for band in archive._bands.values()) < 150
