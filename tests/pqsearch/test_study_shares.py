"""A study whose workers share GPUs: a plan that is too large for a share gets the whole of one before it is blamed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pqsearch import rooms
from pqsearch.journal.file import Journal, read_events
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Wait
from pqsearch.settings import Settings
from pqsearch.study import Call, Study, read_study
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([3] * 6)
GPU = "gpu 0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def _open(path: Path) -> tuple[Study, Journal]:
    journal, events, _ = Journal.open(path, time.time)
    algorithm = rooms.load("algorithms", "genetic")(PROBLEM, 0, population=4)
    return Study(PROBLEM, lambda prior: algorithm, journal, Settings(evaluations=4), time.time, events=events), journal


def _of_two(path: Path) -> tuple[Study, Journal, Item, Item]:
    """What seats a and b, who share a GPU, are at."""
    study, journal = _open(path)
    for seat in "ab":
        study.join(seat, seat, {"shares": GPU})
    return study, journal, *_items(study, "a"), *_items(study, "b")


def _items(study: Study, seat: str, shares: str | None = None) -> list[Item]:
    answer = study.exchange([Call(seat, number=1, shares=shares)])[0]
    return [] if isinstance(answer, Wait) else list(answer)  # type: ignore[arg-type]  # no study here finishes


def _done(item: Item) -> Result:
    return Result(item.id, item.rung, item.repeat, Accuracy(0.5, 100), 0.5, {})


def _full(item: Item) -> Result:
    return Result(item.id, 0, 0, None, None, {}, failure="out of memory: 2 GB", crowded=not item.alone)


def test_what_ran_out_of_a_share_is_tried_once_more_with_a_whole_gpu(path: Path) -> None:
    study, _, item, other = _of_two(path)
    study.report("b", [_done(other)])
    study.report("a", [_full(item)])
    assert read_study(path).tasks == study.state.tasks
    alone = replace(item, alone=True)
    assert _items(study, "a") == [alone]
    assert not _items(study, "b")
    study.report("a", [_full(alone)])
    row = study.candidates()[item.id]
    assert (row["state"], row["failure"]) == ("failed", "out of memory: 2 GB")
    assert not _items(study, "b")[0].alone
    assert [event["type"] for event in read_events(path)].count("died") == 1


def test_a_result_outruns_what_its_worker_said_before_that_it_was_at(path: Path) -> None:
    study, _, item, other = _of_two(path)
    asked = Call("a", number=1, holding=[(item.id, item.repeat)], shares=GPU)
    answers = study.exchange([asked, Call("a", [_full(item)])])
    assert answers == [Wait(), Wait()]
    assert not _items(study, "a", GPU), "b is at work on the same GPU"
    study.report("b", [_done(other)])
    assert _items(study, "b", GPU) == [replace(item, alone=True)], "whoever comes first"
    assert not _items(study, "a", GPU)


def test_what_a_worker_has_handed_in_is_not_its_own_any_more_when_it_ends(path: Path) -> None:
    study, _, item, _ = _of_two(path)
    asked = Call("a", number=1, holding=[(item.id, item.repeat)], shares=GPU)
    study.exchange([asked, Call("a", [_full(item)])])
    study.leave("a", "a", "killed", died=True)
    assert study.state.tasks[item.id, item.repeat].deaths == 0
    assert study.load().running == 1, "b's"


def test_who_speaks_to_a_study_that_has_begun_anew_says_itself_what_gpu_it_shares(path: Path) -> None:
    study, journal, item, other = _of_two(path)
    study.report("b", [_done(other)])
    study.report("a", [_full(item)])
    assert [one.alone for one in _items(study, "a")] == [True]
    journal.close()
    again, _ = _open(path)
    again.resume()
    again.exchange([Call("a", number=1, holding=[(item.id, item.repeat)], shares=GPU)])
    assert not _items(again, "b", GPU), "a has it for itself"
    assert len(_items(again, "c", "gpu 1")) == 1
