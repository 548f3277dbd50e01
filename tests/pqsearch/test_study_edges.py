"""The study at its edges: odd reports, odd algorithms, time that runs out, journals that refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.errors import SearchAborted
from pqsearch.journal.file import Journal, StaleEpoch, read_events
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Algorithm, Finished, Genes, Outcome, Proposal, Wait
from pqsearch.settings import Settings
from pqsearch.study import Call, Study, read_study
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([3] * 6)
SCORE = separable(PROBLEM)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Gives what it is told to give, and notes what it hears."""

    def __init__(self, *answers: list[Proposal] | Wait | Finished) -> None:
        self._answers = answers
        self._asked: set[int] = set()
        self.heard: list[tuple[int, Outcome]] = []

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        return self._answers[min(len(self._asked), len(self._answers) - 1)]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._asked.add(id)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self.heard.append((id, outcome))


def _open(
    path: Path,
    settings: Settings,
    algorithm: Algorithm | None = None,
    clock: Clock | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> tuple[Study, Journal]:
    clock = clock or Clock()
    journal, events, _ = Journal.open(path, clock)
    algorithm = algorithm or rooms.load("algorithms", "genetic")(PROBLEM, 0, population=4)
    study = Study(
        PROBLEM, lambda prior: algorithm, journal, settings, clock,
        events=events, fingerprint=fingerprint,
    )  # fmt: skip
    return study, journal


def _result(item: Item) -> Result:
    loss = SCORE(PROBLEM.encode(item.plan)) + 0.001 * item.repeat
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss, 100), loss, {"train": 1.0}, f"{item.id}.pth")


def _items(study: Study, seat: str, number: int = 1) -> list[Item]:
    answer = study.ask(seat, number)
    assert isinstance(answer, list)
    return answer


def _count(path: Path, kind: str) -> int:
    return sum(event["type"] == kind for event in read_events(path))


def test_the_same_result_twice_in_one_report_counts_once(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4, rungs=2))
    (item,) = _items(study, "a")
    study.report("a", [_result(item)] * 3)
    assert _count(tmp_path / "j", "reported") == 1
    assert _items(study, "a")[0].rung == 1


def test_rungs_done_in_one_go_are_taken_in_one_report(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4, rungs=2))
    (item,) = _items(study, "a")
    rungs = [Result(item.id, rung, 0, Accuracy(0.5, 10), 1.0, {}) for rung in (0, 1, 2)]
    study.report("a", rungs)
    row = study.candidates()[0]
    assert (row["state"], row["rung"], len(row["measurements"])) == ("done", 1, 2)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_a_failure_of_that_candidate(tmp_path: Path, loss: float) -> None:
    algorithm = Scripted([Proposal((0,) * 6)])
    study, _ = _open(tmp_path / "j", Settings(evaluations=4, rungs=2), algorithm)
    (item,) = _items(study, "a")
    study.report("a", [Result(item.id, 0, 0, Accuracy(0.1, 10), loss, {})])
    assert study.candidates()[0]["failure"] == f"diverged: loss {loss}, accuracy 0.1"
    assert algorithm.heard == [(0, Outcome((), 0, failed=True))]


def test_a_late_report_of_a_worker_given_up_on_still_counts(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    study.join("a", "1", {})
    (item,) = _items(study, "a")
    study.leave("a", "1", "no sign of life", died=True)
    assert _items(study, "b") == [item]
    study.report("a", [_result(item)])
    study.report("b", [_result(item)])
    assert _count(tmp_path / "j", "reported") == 1
    assert _items(study, "b")[0].id == 1


def test_a_worker_given_up_is_handed_nothing_more_and_its_death_counts_once(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    study.join("a", "1", {})
    (item,) = _items(study, "a")
    study.give_up("a", "gave no sign of life for 60 s")
    assert isinstance(study.ask("a"), Wait), "whatever it asks for when it comes back"
    assert study.beat("a", "1") is False
    study.leave("a", None, "the worker died", died=True)  # as Ray notices that it was ended
    study.join("a", "2", {})
    assert study.beat("a", "2")
    assert _items(study, "a") == [item]
    (died,) = [event for event in read_events(tmp_path / "j") if event["type"] == "died"]
    assert (died["id"], died["alone"], died["reason"]) == (0, True, "gave no sign of life for 60 s")
    assert read_study(tmp_path / "j").tasks == study.state.tasks
    study.leave("a", None, "the worker died", died=True)
    assert study.candidates()[0]["failure"] == "took down 2 workers, the last one: the worker died"
    assert study.aborted is None


def test_a_worker_that_breaks_over_a_candidate_says_why_and_counts_as_dead_once(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    for incarnation in ("1", "2"):
        study.join("a", incarnation, {})
        assert _items(study, "a")[0].id == 0
        study.broke("a", incarnation, "ArithmeticError: no luck")
        study.leave("a", incarnation, "the worker ended")  # as it is taken down in an orderly way
        study.leave("a", None, "the worker died", died=True)  # as Tune notices
    assert study.candidates()[0]["failure"] == "took down 2 workers, the last one: ArithmeticError: no luck"
    assert study.aborted is None
    assert _count(tmp_path / "j", "died") == 1


def test_what_a_given_up_worker_asks_for_with_what_it_holds_goes_to_another_one(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    study.join("a", "1", {})
    (item,) = _items(study, "a")
    study.give_up("a", "silent")
    (answer,) = study.exchange([Call("a", [], 1, [(item.id, item.repeat)])])
    assert isinstance(answer, Wait)
    assert _items(study, "b") == [item]


def test_a_study_that_begins_anew_knows_its_workers_by_their_beats(tmp_path: Path) -> None:
    study, journal = _open(tmp_path / "j", Settings(evaluations=4))
    study.join("a", "1", {})
    (item,) = _items(study, "a")
    journal.close()
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    study.expect(["a", "b"])
    assert study.beat("a", "1")
    assert study.progress()["workers"] == 2
    study.exchange([Call("a", [], 1, [(item.id, item.repeat)])])
    for seat in "ab":
        study.give_up(seat, "silent")
    assert _count(tmp_path / "j", "died") == 2, "both tasks of the one that held any"
    for seat in "abab":  # b was never heard, but it sat there
        study.leave(seat, None, "the worker died", died=True)
        study.join(seat, f"{seat}2", {})
        assert study.aborted is None


def test_a_study_that_begins_anew_gives_nobody_what_another_is_at(tmp_path: Path) -> None:
    study, journal = _open(tmp_path / "j", Settings(evaluations=3))
    for seat in "ab":
        study.join(seat, "1", {})
    (first,), (second,) = _items(study, "a"), _items(study, "b")
    journal.close()
    study, _ = _open(tmp_path / "j", Settings(evaluations=3))
    study.resume()
    assert [item.id for item in _items(study, "b", 3)] == [2], "what is new may be begun"
    study.expect(["a", "b"])
    assert study.beat("a", "1")
    study.report("a", [_result(first)])
    study.claim("a", "1", [])
    assert second in _items(study, "c", 3), "a holds nothing more, and b did not say that it does"
    assert not study.aborted


def test_a_worker_that_falls_silent_before_it_sat_down_counts_as_a_failed_set_up(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    for _ in range(3):
        assert study.aborted is None
        study.give_up("a", "gave no sign of life for 60 s")
        study.leave("a", None, "the worker died", died=True)
    assert study.aborted == (
        "a could not work 3 times: gave no sign of life for 60 s; mend that, then the same command continues"
    )


def test_what_a_dead_worker_left_comes_before_anything_new_is_asked(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=9))
    study.join("dead", "1", {})
    left = _items(study, "dead", 2)
    mine = _items(study, "a")
    study.leave("dead", "1", "scaled down")
    assert _items(study, "a", 3) == mine + left
    assert _count(tmp_path / "j", "asked") == 3


def test_equal_plans_in_one_batch_are_evaluated_once_and_told_together(tmp_path: Path) -> None:
    algorithm = Scripted([Proposal((2,) * 6), Proposal((2,) * 6)], Wait())
    study, _ = _open(tmp_path / "j", Settings(evaluations=9), algorithm)
    (item,) = _items(study, "a", 2)
    assert algorithm.heard == []
    study.report("a", [_result(item)])
    assert [id for id, _ in algorithm.heard] == [0, 1]
    assert algorithm.heard[0][1] == algorithm.heard[1][1]
    assert [row["state"] for row in study.candidates()] == ["done", "same"]


def test_no_more_is_taken_than_was_asked_for(tmp_path: Path) -> None:
    plans = [Proposal(tuple(int(knob == one) for knob in range(6)), exact=True) for one in range(6)]
    study, _ = _open(tmp_path / "j", Settings(evaluations=2), Scripted(plans))
    assert len(_items(study, "a", 5)) == 2
    assert study.state.evaluations == 2


@pytest.mark.parametrize("answer", [Wait(), []], ids=["wait", "nothing"])
def test_an_algorithm_that_waits_while_nobody_works_ends_the_search(tmp_path: Path, answer: Any) -> None:
    algorithm = Scripted([Proposal((0,) * 6)], answer)
    study, _ = _open(tmp_path / "j", Settings(evaluations=9), algorithm)
    (item,) = _items(study, "a")
    assert isinstance(study.ask("b"), Wait)
    assert study.state.stopped is None, "the first candidate's result may be what it waits for"
    study.report("a", [_result(item)])
    while isinstance(study.ask("b"), Wait):
        continue
    assert study.finished
    assert study.state.stopped == "algorithm waits in vain"


def test_the_hours_end_the_confirmation_too(tmp_path: Path) -> None:
    clock = Clock()

    def evaluate(item: Item) -> Result:
        clock.now += 600
        return _result(item)

    settings = Settings(evaluations=4, confirm=3, confirm_repeats=5, hours=1.0)
    study, _ = _open(tmp_path / "j", settings, clock=clock)
    run_locally(study, evaluate)
    assert study.finished
    assert study.state.stopped == "hours"
    assert study.state.seconds() == 3600
    assert len(study.leading(4)) == 4
    assert study.progress()["total"] >= study.progress()["done"]


def test_no_hours_are_asked_for_when_the_search_ends_in_time(tmp_path: Path) -> None:
    clock = Clock()
    study, _ = _open(tmp_path / "j", Settings(evaluations=2, confirm=1, hours=1.0), clock=clock)
    run_locally(study, _result)
    clock.now += 10**6
    assert isinstance(study.ask("a"), Finished)
    assert study.state.stopped == "evaluations"


def test_leaders_are_ranked_by_their_mean_and_those_never_measured_again_come_last(tmp_path: Path) -> None:
    """The luckiest plan is worse when measured again, and the second luckiest fails at that."""
    plans = [tuple(int(knob == one) for knob in range(6)) for one in range(4)]
    algorithm = Scripted(*([Proposal(genes, exact=True)] for genes in plans), Finished())
    study, _ = _open(
        tmp_path / "j", Settings(evaluations=9, confirm=3, confirm_repeats=1, objectives=("loss",)), algorithm
    )
    losses = {(0, 0): 0.10, (0, 1): 0.90, (1, 0): 0.11, (2, 0): 0.12, (2, 1): 0.13, (3, 0): 0.40}

    def evaluate(item: Item) -> Result:
        loss = losses.get((item.id, item.repeat))
        if loss is None:
            return Result(item.id, 0, item.repeat, None, None, {}, failure="diverged")
        return Result(item.id, 0, item.repeat, Accuracy(1 - loss, 10), loss, {})

    run_locally(study, evaluate)
    assert [row["id"] for row in study.leading(9)] == [2, 0, 1, 3]
    assert study.state.score(0) == pytest.approx(0.5)
    assert study.candidates()[1]["state"] == "done"


class Opinionated(Scripted):
    """Takes a plan for the best whatever its score, by way of its copy; and names one that does not exist."""

    def leading(self, number: int) -> list[int]:
        return [4, 99, 3, 0][:number]


def test_the_algorithms_own_leaders_are_confirmed_in_turn_with_the_best_scores(tmp_path: Path) -> None:
    plans = [tuple(int(knob == one) for knob in range(6)) for one in (0, 1, 2, 3, 2)]
    algorithm = Opinionated(*([Proposal(genes, exact=True)] for genes in plans), Finished())
    study, _ = _open(tmp_path / "j", Settings(evaluations=9, confirm=3, objectives=("loss",)), algorithm)

    def evaluate(item: Item) -> Result:
        return Result(item.id, 0, item.repeat, Accuracy(0.5, 10), 0.1 * (item.id + 1), {})

    run_locally(study, evaluate)
    (confirm,) = [event for event in read_events(tmp_path / "j") if event["type"] == "confirm"]
    assert confirm["ids"] == [2, 0, 3]


def test_a_search_cut_at_every_single_event_goes_on_as_the_unbroken_one(tmp_path: Path) -> None:
    """One plan fails on its way; what a worker does is the same before and after the cut."""
    settings = Settings(evaluations=8, rungs=2, confirm=1, confirm_repeats=1)

    def drive(study: Study, started: list[tuple[int, int, int]]) -> None:
        for _ in range(500):
            answer = study.ask("a")
            if isinstance(answer, Finished):
                return
            for item in [] if isinstance(answer, Wait) else answer:
                started.append((item.id, item.rung, item.repeat))
                if item.id == 3:
                    study.fail("a", item.id, "no luck", item.repeat)
                else:
                    study.report("a", [_result(item)])
        raise AssertionError("the search does not end")

    whole = tmp_path / "whole"
    drive(_open(whole, settings)[0], [])
    final = read_study(whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines)):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(b"".join(lines[:cut]))
        paid = {(e["id"], e["rung"], e["repeat"]) for e in read_events(path) if e["type"] == "reported"}
        started: list[tuple[int, int, int]] = []
        drive(_open(path, settings)[0], started)
        state = read_study(path)
        assert not paid & set(started)
        assert state.finished
        assert [(row["genes"], row["values"], row["state"]) for row in state.candidates()] == [
            (row["genes"], row["values"], row["state"]) for row in final.candidates()
        ]
        assert [row["id"] for row in state.leading(9)] == [row["id"] for row in final.leading(9)]


def test_what_the_journal_refuses_has_not_happened(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))
    (item,) = _items(study, "a")
    before = study.candidates()
    other, _, _ = Journal.open(tmp_path / "j", Clock())
    other.append([{"type": "note"}])
    for act in (lambda: study.report("a", [_result(item)]), lambda: study.ask("b"), lambda: study.fail("a", 0, "x")):
        with pytest.raises(StaleEpoch):
            act()
    assert study.candidates() == before


def test_trouble_with_the_journal_is_not_held_against_a_candidate(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=4))

    def evaluate(item: Item) -> Result:
        other, _, _ = Journal.open(tmp_path / "j", Clock())
        other.append([{"type": "note"}])
        return _result(item)

    with pytest.raises(StaleEpoch):
        run_locally(study, evaluate)
    assert study.candidates()[0]["state"] == "running"


def test_the_local_runner_does_not_wait_for_ever_for_a_seat_that_is_gone(tmp_path: Path) -> None:
    study, _ = _open(tmp_path / "j", Settings(evaluations=1))
    _items(study, "another")
    with pytest.raises(SearchAborted, match="another seat holds"):
        run_locally(study, _result)


def test_a_measurement_paid_for_twice_would_show(tmp_path: Path) -> None:
    study, journal = _open(tmp_path / "j", Settings(evaluations=4))
    (item,) = _items(study, "a")
    study.report("a", [_result(item)])
    assert study.candidates()[0]["times_evaluated"] == 1
    (event,) = [event for event in read_events(tmp_path / "j") if event["type"] == "reported"]
    journal.append([{key: event[key] for key in event.keys() - {"seq", "epoch", "time", "crc"}}])
    assert read_study(tmp_path / "j").candidates()[0]["times_evaluated"] == 2


def test_a_fingerprint_with_tuples_is_the_same_when_read_back(tmp_path: Path) -> None:
    fingerprint = {"space": {"weight_bits": (2, 4, 8)}, "seed": 0}
    _, journal = _open(tmp_path / "j", Settings(evaluations=1), fingerprint=fingerprint)
    journal.close()
    assert _open(tmp_path / "j", Settings(evaluations=1), fingerprint=fingerprint)[0].state.epoch == 2


class _Diary:
    """An algorithm that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def ask(self, ids: Sequence[int]) -> list[Proposal]:
        rng = [np.random.default_rng(id) for id in ids]
        return [Proposal(tuple(map(int, one.integers(0, PROBLEM.levels)))) for one in rng]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        pass

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self.told.append(id)


def test_a_generation_is_asked_together_and_told_in_order_when_its_last_result_is_in(tmp_path: Path) -> None:
    diary = _Diary()
    study, _ = _open(tmp_path / "j", Settings(evaluations=8, generation=4), diary)
    items = [_items(study, seat)[0] for seat in "abcd"]
    assert isinstance(study.ask("e"), Wait)
    for seat, item in list(zip("abcd", items, strict=True))[:0:-1]:
        study.report(seat, [_result(item)])
    assert diary.told == []
    assert isinstance(study.ask("d"), Wait)
    study.report("a", [_result(items[0])])
    told = sorted(items, key=lambda item: item.id)
    assert [id for id in diary.told if id in {item.id for item in told}] == [item.id for item in told]
    assert not isinstance(study.ask("d"), Wait)


def test_generations_killed_at_any_event_go_on_alike(tmp_path: Path) -> None:
    settings = Settings(evaluations=8, generation=3)
    whole = _Diary()
    study, journal = _open(tmp_path / "whole", settings, whole)
    run_locally(study, _result)
    journal.close()
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    for cut in range(1, len(lines)):
        (tmp_path / f"{cut}").write_text("".join(lines[:cut]))
        again = _Diary()
        study, journal = _open(tmp_path / f"{cut}", settings, again)
        run_locally(study, _result)
        journal.close()
        assert again.told == whole.told
