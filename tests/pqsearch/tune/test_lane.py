"""A worker's lane: items at hand before they are needed, results on their way before anybody misses them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pqsearch.plan import Item, Plan, Result
from pqsearch.study_fold import Key
from pqsearch.tune.lane import MOST_AT_ONCE, Lane


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Answers exchanges with items in their order, and writes down what it was asked."""

    def __init__(self, total: int = 1000, rungs: int = 1) -> None:
        self.asked: list[tuple[list[int], int, list[Key]]] = []
        self.asked_for_more = threading.Event()
        self._total, self._rungs = total, rungs
        self._given = 0
        self._next: list[Item] = []

    def __call__(
        self, results: Sequence[Result], number: int, holding: Sequence[Key]
    ) -> Callable[[], Mapping[str, Any]]:
        self.asked.append(([result.id for result in results], number, list(holding)))
        again = [_item(result.id, result.rung + 1, self._rungs) for result in results if result.rung + 1 < self._rungs]
        items = again[:number] if number else []
        while len(items) < number and self._given < self._total:
            items.append(_item(self._given, 0, self._rungs))
            self._given += 1
        if number:
            self.asked_for_more.set()
        state = "items" if items else "finished" if self._given >= self._total else "wait"
        return lambda: {"state": state, "items": items}


def _item(id: int, rung: int = 0, rungs: int = 1) -> Item:
    return Item(id, "candidate", Plan(), rung, last=rung == rungs - 1)


def _result(item: Item) -> Result:
    return Result(item.id, item.rung, 0, None, None, {})


def _evaluate(lane: Lane, clock: Clock, seconds: float) -> Item:
    item = lane.next()
    assert item is not None
    clock.now += seconds
    lane.done(item, _result(item), seconds)
    return item


def test_a_long_item_is_followed_by_one_that_was_asked_for_while_it_ran() -> None:
    clock, desk = Clock(), Desk()
    lane = Lane(desk, clock)
    _evaluate(lane, clock, 0.3)
    item = lane.next()
    assert item is not None
    desk.asked_for_more.clear()
    assert desk.asked_for_more.wait(10), "asked in time, by a timer"
    assert desk.asked[-1] == ([], 1, [(item.id, 0)])
    lane.done(item, _result(item), 0.3)
    before = len(desk.asked)
    following = lane.next()
    assert following is not None and following.id == item.id + 1
    assert [asked for asked in desk.asked[before:] if asked[1]] == [], "it was at hand"


def test_short_items_come_in_batches_and_so_do_their_results() -> None:
    clock, desk = Clock(), Desk()
    lane = Lane(desk, clock)
    for _ in range(500):
        _evaluate(lane, clock, 0.001)
    lane.flush()
    assert max(number for _, number, _ in desk.asked) == MOST_AT_ONCE
    assert len(desk.asked) < 50
    assert sorted(id for ids, *_ in desk.asked for id in ids) == list(range(500))


def test_behind_an_item_with_another_rung_the_study_is_asked_first() -> None:
    clock, desk = Clock(), Desk(rungs=2)
    lane = Lane(desk, clock)
    order = [(item.id, item.rung) for item in (_evaluate(lane, clock, 0.3) for _ in range(6))]
    assert order == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_every_result_is_handed_in_once_and_the_end_is_noticed() -> None:
    clock, desk = Clock(), Desk(total=7)
    lane = Lane(desk, clock)
    while not lane.finished:
        item = lane.next()
        if item is not None:
            clock.now += 0.1
            lane.done(item, _result(item), 0.1)
    lane.flush()
    assert sorted(id for ids, *_ in desk.asked for id in ids) == list(range(7))


def test_more_is_asked_for_only_when_all_results_on_their_way_are_acknowledged() -> None:
    desk, clock = Desk(total=200), Clock()
    unanswered: list[int] = []

    def begin(results: Sequence[Result], number: int, holding: Sequence[Key]) -> Callable[[], Mapping[str, Any]]:
        assert not (number and unanswered), "a study that begins anew may hear this first, and hand those out again"
        unanswered.extend(result.id for result in results)
        answered = desk(results, number, holding)

        def answer() -> Mapping[str, Any]:
            for result in results:
                unanswered.remove(result.id)
            return answered()

        return answer

    lane = Lane(begin, clock)
    for seconds in [0.05] * 20 + [0.3] * 20:
        _evaluate(lane, clock, seconds)
    assert any(results and not number for results, number, _ in desk.asked), "results did travel by themselves"


def test_what_a_worker_holds_is_said_once_its_results_are_acknowledged_and_its_answer_is_there() -> None:
    clock, desk = Clock(), Desk(total=20)
    lane = Lane(desk, clock)
    _evaluate(lane, clock, 0.01)
    done = _evaluate(lane, clock, 0.01)
    current = lane.next()
    assert current is not None
    holding = lane.holding()
    assert holding[0] == (current.id, 0) and len(holding) > 1
    assert done.id in [id for ids, *_ in desk.asked for id in ids]
    lane.done(current, _result(current), 0.01)
    follow = [lane.next() for _ in holding[1:]]
    assert [(item.id, item.repeat) for item in follow if item is not None] == holding[1:]


def test_a_failed_exchange_is_not_swallowed() -> None:
    def broken(results: Sequence[Result], number: int, holding: Sequence[Key]) -> Callable[[], Mapping[str, Any]]:
        def answered() -> Mapping[str, Any]:
            raise ConnectionError("the study is gone")

        return answered

    with pytest.raises(ConnectionError, match="gone"):
        Lane(broken, Clock()).next()


def test_a_result_does_not_wait_for_the_end_of_a_long_item_behind_it() -> None:
    clock, sent = Clock(), threading.Event()

    class Watched(Desk):
        def __call__(
            self, results: Sequence[Result], number: int, holding: Sequence[Key]
        ) -> Callable[[], Mapping[str, Any]]:
            if any(result.id == 2 for result in results):
                sent.set()
            return super().__call__(results, number, holding)

    lane = Lane(Watched(), clock)
    for _ in range(3):  # after the first one they come by the batch
        _evaluate(lane, clock, 0.001)
    item = lane.next()
    assert item is not None and item.id == 3
    assert sent.wait(10), "by a timer, while the item is at work"
