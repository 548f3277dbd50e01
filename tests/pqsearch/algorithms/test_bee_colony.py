"""What the bee colony does beyond what every algorithm does."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pqsearch.problem import Outcome
from tests.pqsearch.algorithms.folding import hand_out, make, tell_all
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([6] * 12)


def test_scouts_find_every_source_first_and_employed_and_onlooker_bees_then_take_turns() -> None:
    colony = make("bee_colony", PROBLEM, sources=4)
    first = hand_out(colony, PROBLEM, 0, 4)
    assert [(memo["bee"], memo["source"]) for *_, memo in first] == [("scout", source) for source in range(4)]
    tell_all(colony, first)
    second = hand_out(colony, PROBLEM, 4, 8)
    assert Counter(memo["bee"] for *_, memo in second) == {"employed": 4, "onlooker": 4}
    assert sorted(memo["source"] for *_, memo in second if memo["bee"] == "employed") == [0, 1, 2, 3]


def test_the_best_plans_given_are_the_first_sources_and_scouts_find_only_the_others() -> None:
    colony = make("bee_colony", PROBLEM, sources=3, changes=1.0, guidance=0.0)
    given = [tuple(row) for row in PROBLEM.repair(np.array([[5] * 3 + [0] * 9, [0] * 9 + [5] * 3, [3] * 12])).tolist()]
    for id, (genes, value) in enumerate(zip(given, (0.3, None, 0.2), strict=True)):
        colony.asked(id, genes, {"role": "uniform"})
        tell_all(colony, [(id, genes, {})], value)
    rows = hand_out(colony, PROBLEM, 3, 7)
    assert [(memo["bee"], memo["source"]) for *_, memo in rows[:1]] == [("scout", 2)]
    near = {memo["source"]: np.array(genes) for _, genes, memo in rows[1:]}
    for source, plan in ((0, given[2]), (1, given[0])):
        others = [np.abs(near[source] - np.array(other)).sum() for other in given if other != plan]
        assert np.abs(near[source] - np.array(plan)).sum() < min(others)
    tell_all(colony, rows, 0.9)
    assert colony._best(0)[1] == given[2]  # worse neighbours do not replace it


def test_onlookers_prefer_the_better_sources() -> None:
    colony = make("bee_colony", PROBLEM, sources=4)
    for (id, genes, _), value in zip(hand_out(colony, PROBLEM, 0, 4), (0.4, 0.1, 0.3, 0.2), strict=True):
        colony.tell(id, genes, Outcome((value,)))
    rows = hand_out(colony, PROBLEM, 4, 400)
    chosen = Counter(memo["source"] for *_, memo in rows if memo["bee"] == "onlooker")
    assert chosen[1] > chosen[3] > chosen[2] > chosen[0] > 0


def test_a_source_that_is_not_bettered_is_given_up_after_the_limit() -> None:
    colony = make("bee_colony", PROBLEM, sources=2, limit=3)
    tell_all(colony, hand_out(colony, PROBLEM, 0, 2), 0.1)
    bees = []
    for id in range(2, 14):
        rows = hand_out(colony, PROBLEM, id, 1)
        bees.append((rows[0][2]["bee"], rows[0][2]["source"], rows[0][2]["life"]))
        tell_all(colony, rows, 0.9)
    scouts = [bee for bee in bees if bee[0] == "scout"]
    assert {source for _, source, _ in scouts} == {0, 1}
    assert bees.index(scouts[0]) >= 3
    assert all(life == 2 for _, _, life in scouts[:2])


def test_what_is_told_of_a_source_given_up_no_longer_counts_for_it() -> None:
    colony = make("bee_colony", PROBLEM, sources=2, limit=1)
    tell_all(colony, hand_out(colony, PROBLEM, 0, 2), 0.1)
    late = hand_out(colony, PROBLEM, 2, 2)
    worse = hand_out(colony, PROBLEM, 4, 12)
    tell_all(colony, worse, 0.9)
    scouts = [row for row in hand_out(colony, PROBLEM, 16, 2) if row[2]["bee"] == "scout"]
    assert len(scouts) == 2
    tell_all(colony, scouts, 0.5)
    before = [source.best for source in colony._sources]
    tell_all(colony, late, 0.0)
    assert [source.best for source in colony._sources] == before


def test_a_source_whose_scout_failed_gets_another() -> None:
    colony = make("bee_colony", PROBLEM, sources=3)
    rows = hand_out(colony, PROBLEM, 0, 3)
    tell_all(colony, rows[:2])
    tell_all(colony, rows[2:], None)
    again = hand_out(colony, PROBLEM, 3, 1)
    assert again[0][2]["bee"] == "scout" and again[0][2]["source"] == rows[2][2]["source"]


def test_a_scout_that_is_never_heard_of_is_followed_by_another() -> None:
    colony = make("bee_colony", PROBLEM, sources=4, limit=1000)
    lost = hand_out(colony, PROBLEM, 0, 4)
    tell_all(colony, lost[:1])
    scouts = []
    for id in range(4, 120):
        rows = hand_out(colony, PROBLEM, id, 1)
        scouts += [(id, memo["source"]) for id, _, memo in rows if memo["bee"] == "scout"]
        tell_all(colony, rows)
    assert sorted(source for _, source in scouts) == [1, 2, 3]
    assert min(id for id, _ in scouts) > 60
    assert all(colony._best(source) for source in range(4))


def test_many_in_flight_are_no_reason_to_give_a_scout_up() -> None:
    colony = make("bee_colony", PROBLEM, sources=4, limit=1000)
    scouts = hand_out(colony, PROBLEM, 0, 4)
    tell_all(colony, scouts[:1])
    others = hand_out(colony, PROBLEM, 4, 200)
    tell_all(colony, others[:150])
    assert all(memo["bee"] != "scout" for *_, memo in hand_out(colony, PROBLEM, 204, 4))


def test_bees_are_drawn_to_the_best_plan_when_guided() -> None:
    best = np.array(PROBLEM.repair(np.array([[5] * 5 + [0] * 7]))[0])

    def nearness(guidance: float) -> float:
        colony = make("bee_colony", PROBLEM, sources=4, guidance=guidance, limit=1000)
        colony.asked(0, tuple(best.tolist()), {"role": "uniform"})
        colony.tell(0, tuple(best.tolist()), Outcome((0.0,)))
        tell_all(colony, hand_out(colony, PROBLEM, 1, 4))
        return float(
            np.mean([np.abs(np.array(genes) - best).sum() for _, genes, _ in hand_out(colony, PROBLEM, 5, 60)])
        )

    assert nearness(2.0) < nearness(0.0)
