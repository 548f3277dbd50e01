"""What every search algorithm promises; each new file in the room is picked up by itself."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.front import hypervolume
from pqsearch.problem import Algorithm, Finished, Genes, Judge, Outcome, Proposal, Wait
from tests.pqsearch.problems import LISTS, Free, Knapsack, Score, coupled, deceptive, separable

NAMES = rooms.names("algorithms")
#: Those that learn, and so must beat those that draw.
LEARNERS = [name for name in NAMES if name not in LISTS | {"random_search"}]
#: The four of the textbooks, which also have to find known optima.
TEXTBOOK = ("ant_colony", "bee_colony", "genetic", "particle_swarm")
#: Those to whom the order in which results arrive matters: trails are laid, and generations completed, in that order.
ORDERED = {"ant_colony", "cma_es"}
#: A log of events: ("asked", id, genes, memo) or ("told", id, genes, outcome).
Event = tuple[str, int, Genes, Any]
PROBLEM = Knapsack([4] * 12)
WIDE = Knapsack([2 + knob % 5 for knob in range(400)])


def _make(name: str, problem: Knapsack = PROBLEM, seed: int = 0) -> Algorithm:
    return rooms.load("algorithms", name)(problem, seed)


def _search(algorithm: Algorithm, problem: Knapsack, score: Score, evaluations: int, batch: int = 1) -> list[Event]:
    """Ask and tell in order; returns the events."""
    events: list[Event] = []
    while sum(event[0] == "asked" for event in events) < evaluations:
        first = sum(event[0] == "asked" for event in events)
        answer = algorithm.ask(range(first, first + batch))
        if isinstance(answer, (Wait, Finished)):
            break
        genes = [tuple(map(int, problem.repair(np.array([proposal.genes]))[0])) for proposal in answer]
        for offset, proposal in enumerate(answer):
            events.append(("asked", first + offset, genes[offset], proposal.memo))
            algorithm.asked(first + offset, genes[offset], proposal.memo)
        for offset in range(len(answer)):
            outcome = Outcome((score(genes[offset]),))
            events.append(("told", first + offset, genes[offset], outcome))
            algorithm.tell(first + offset, genes[offset], outcome)
    return events


def _fold(algorithm: Algorithm, events: list[Event]) -> Algorithm:
    for kind, id, genes, more in events:
        if kind == "asked":
            algorithm.asked(id, genes, json.loads(json.dumps(more)))
        else:
            algorithm.tell(id, genes, more)
    return algorithm


def _next(algorithm: Algorithm, first: int, number: int) -> list[Proposal] | Wait | Finished:
    return algorithm.ask(range(first, first + number))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "problem",
    [PROBLEM, Knapsack([5], share=1.0), Knapsack([1, 3, 1, 4, 1]), WIDE],
    ids=["twelve knobs", "one knob", "frozen knobs", "400 knobs"],
)
def test_genes_are_legal(name: str, problem: Knapsack) -> None:
    events = _search(_make(name, problem), problem, separable(problem), 12, batch=3)
    assert events
    algorithm = _fold(_make(name, problem), events)
    answer = _next(algorithm, 100, 4)
    proposals = [] if isinstance(answer, (Wait, Finished)) else answer
    assert len(proposals) <= 4
    for genes in [event[2] for event in events] + [proposal.genes for proposal in proposals]:
        assert len(genes) == len(problem.levels)
        assert all(0 <= level < levels for level, levels in zip(genes, problem.levels, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_with_a_single_plan_does_no_harm(name: str) -> None:
    problem = Knapsack([1], share=1.0)
    assert {event[2] for event in _search(_make(name, problem), problem, lambda genes: 0.5, 5)} == {(0,)}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_and_events_give_the_same_suggestions(name: str) -> None:
    first, second = (_search(_make(name), PROBLEM, separable(PROBLEM), 40) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", sorted(set(NAMES) - LISTS))
def test_another_seed_gives_other_suggestions(name: str) -> None:
    first, second = (_search(_make(name, seed=seed), PROBLEM, separable(PROBLEM), 10) for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("name", NAMES)
def test_asking_changes_nothing(name: str) -> None:
    algorithm = _fold(_make(name), _search(_make(name), PROBLEM, separable(PROBLEM), 30))
    assert _next(algorithm, 30, 3) == _next(algorithm, 30, 3)


@pytest.mark.parametrize("name", NAMES)
def test_state_rebuilt_from_events_gives_the_identical_next_200_suggestions(name: str) -> None:
    unbroken = _search(_make(name), PROBLEM, separable(PROBLEM), 240)
    cut = min(80, len(unbroken) // 2)
    rebuilt = _fold(_make(name), unbroken[:cut])
    compared = 0
    for kind, id, genes, more in unbroken[cut:]:
        if kind == "asked":
            answer = rebuilt.ask([id])
            assert isinstance(answer, list)
            assert tuple(map(int, PROBLEM.repair(np.array([answer[0].genes]))[0])) == genes
            assert answer[0].memo == more
            rebuilt.asked(id, genes, more)
            compared += 1
        else:
            rebuilt.tell(id, genes, more)
    assert compared == 200 or name in LISTS


#: Where an answer was given, by the number of events before it: the ids asked for, and the answer.
Answers = dict[int, tuple[range, Any]]


def _untidy(
    algorithm: Algorithm, problem: Knapsack, evaluations: int, objectives: int = 1
) -> tuple[list[Event], Answers]:
    """Eight in flight, results in any order and up three rungs, some failed, some told twice or a rung too late."""
    rng = np.random.default_rng(0)
    scores = [separable(problem, seed) for seed in range(objectives)]
    events: list[Event] = []
    answers: Answers = {}
    flying: list[tuple[int, Genes, int]] = []
    number, over = 0, False

    def tell(id: int, genes: Genes, outcome: Outcome) -> None:
        events.append(("told", id, genes, outcome))
        algorithm.tell(id, genes, outcome)

    while flying or not (over or number >= evaluations):
        if len(flying) <= 4 and number < evaluations and not over:
            ids = range(number, min(number + 8 - len(flying), evaluations))
            answer = algorithm.ask(ids)
            answers[len(events)] = ids, answer
            over = isinstance(answer, (Wait, Finished))
            for proposal in answer if isinstance(answer, list) else ():
                genes = tuple(map(int, problem.repair(np.array([proposal.genes]))[0]))
                events.append(("asked", number, genes, proposal.memo))
                algorithm.asked(number, genes, proposal.memo)
                flying.append((number, genes, 0))
                number += 1
            continue
        id, genes, rung = flying.pop(int(rng.integers(len(flying))))
        if rng.random() < 0.1:
            tell(id, genes, Outcome((), rung, failed=True))
            continue
        outcome = Outcome(tuple(score(genes) + 0.1 * rung for score in scores), rung)
        for _ in range(1 + (rng.random() < 0.1)):
            tell(id, genes, outcome)
        if rung < 2 and rng.random() < 0.4:
            flying.append((id, genes, rung + 1))
        elif rung and rng.random() < 0.1:
            tell(id, genes, Outcome(tuple(score(genes) for score in scores), rung - 1))
    return events, answers


INFORMED = Knapsack([4] * 12, prior=[[0.1 * (1 + knob % 4), 0.05, 0.01, 0.0] for knob in range(12)])
SEVERAL = [name for name in NAMES if rooms.constants("algorithms", name).get("SEVERAL_OBJECTIVES")]
#: Names with a problem and a number of objectives.
RUNS = [
    pytest.param(name, problem, objectives, id=f"{name}, {objectives} objective(s), {words}")
    for name in NAMES
    for words, problem in (("no prior", PROBLEM), ("a prior", INFORMED))
    for objectives in ((1, 2) if name in SEVERAL else (1,))
]


@pytest.mark.parametrize(("name", "problem", "objectives"), RUNS)
def test_cut_off_at_any_of_a_hundred_points_it_goes_on_as_the_unbroken_one(
    name: str, problem: Knapsack, objectives: int
) -> None:
    """At each point the next answer and the last one are compared; at some, all answers between them. The hundred are shared out to
    the runs of an algorithm.
    """
    evaluations = 250
    events, answers = _untidy(_make(name, problem), problem, evaluations, objectives)
    assert name in LISTS or sum(kind == "asked" for kind, *_ in events) == evaluations
    places = sorted(answers)
    runs = sum(run.values[0] == name for run in RUNS)
    cuts = np.random.default_rng(1).integers(0, places[-1] + 1, 100 // runs).tolist()
    for number, cut in enumerate(cuts):
        rebuilt = _fold(_make(name, problem), events[:cut])
        after = [place for place in places if place >= cut]
        for place in after if number == 0 else sorted({after[0], after[-1]}):
            _fold(rebuilt, events[cut:place])
            ids, answer = answers[place]
            assert rebuilt.ask(ids) == answer
            cut = place


@pytest.mark.parametrize("name", SEVERAL)
def test_two_objectives_are_taken_and_traded_off(name: str) -> None:
    problem = Free([4] * 12)
    worth, price = separable(problem, 1), separable(problem, 2)
    algorithm = _make(name, problem)
    points: dict[int, tuple[float, float]] = {}
    for id in range(60):
        answer = algorithm.ask([id])
        if isinstance(answer, (Wait, Finished)):
            break
        genes = tuple(map(int, problem.repair(np.array([answer[0].genes]))[0]))
        points[id] = (worth(genes), 1 - price(genes))
        algorithm.asked(id, genes, answer[0].memo)
        algorithm.tell(id, genes, Outcome(points[id]))
    assert points
    if name in LEARNERS:
        found = np.array(list(points.values()))
        late, early = found[-20:], found[:20]
        reference = np.ones(2)
        assert hypervolume(late, reference) > hypervolume(early, reference)


@pytest.mark.parametrize(("name", "problem", "objectives"), [run for run in RUNS if run.values[0] not in ORDERED])
def test_the_order_in_which_results_arrive_does_not_matter(name: str, problem: Knapsack, objectives: int) -> None:
    """Neither of successes nor of failures and of words from several rungs."""
    events, _ = _untidy(_make(name, problem), problem, 60, objectives)
    asked = [event for event in events if event[0] == "asked"]
    told = [event for event in events if event[0] == "told"]
    shuffled = [told[place] for place in np.random.default_rng(2).permutation(len(told)).tolist()]
    answers = [_next(_fold(_make(name, problem), asked + words), 60, 5) for words in (told, told[::-1], shuffled)]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("name", NAMES)
def test_being_told_twice_or_late_is_normal(name: str) -> None:
    events = _search(_make(name), PROBLEM, separable(PROBLEM), 30)
    asked = [event for event in events if event[0] == "asked"]
    told = [event for event in events if event[0] == "told"]
    once = _fold(_make(name), asked + told)
    twice = _fold(_make(name), asked + told + told[:10])
    assert _next(once, 30, 2) == _next(twice, 30, 2)
    late = _fold(_make(name), asked)
    assert not isinstance(_next(late, 30, 2), Wait) or name in LISTS
    assert _next(_fold(late, told), 30, 2) == _next(once, 30, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outcome", [Outcome((), failed=True), Outcome((0.5,))], ids=["failed", "equal"])
def test_asking_ends_with_everything_failed_or_equal(name: str, outcome: Outcome) -> None:
    algorithm = _make(name)
    for first in range(0, 60, 2):
        answer = algorithm.ask(range(first, first + 2))
        if isinstance(answer, (Wait, Finished)):
            break
        for offset, proposal in enumerate(answer):
            algorithm.asked(first + offset, proposal.genes, proposal.memo)
            algorithm.tell(first + offset, proposal.genes, outcome)
    assert _next(algorithm, 60, 1) is not None


@pytest.mark.parametrize("name", NAMES)
def test_asking_ends_when_every_plan_was_seen(name: str) -> None:
    problem = Knapsack([2, 2, 2], share=1.0)
    algorithm = _make(name, problem)
    for id in range(8):
        genes = tuple(int(bit) for bit in f"{id:03b}")
        algorithm.asked(id, genes, {})
        algorithm.tell(id, genes, Outcome((0.1 * id,)))
    answer = _next(algorithm, 8, 3)
    assert isinstance(answer, Finished) or all(max(proposal.genes) <= 1 for proposal in answer)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NAMES)
def test_plans_that_others_proposed_are_taken_in(name: str) -> None:
    algorithm = _make(name)
    algorithm.asked(0, (3,) * 6 + (0,) * 6, {"role": "uniform"})
    algorithm.tell(0, (3,) * 6 + (0,) * 6, Outcome((0.2,)))
    assert not isinstance(_next(algorithm, 1, 1), Wait)


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(_make(name), Judge)])
def test_leaders_are_told_successes_and_those_of_a_state_rebuilt_from_events(name: str) -> None:
    algorithm = _make(name)
    events, _ = _untidy(algorithm, PROBLEM, 60)
    successes = {id for kind, id, _, more in events if kind == "told" and not more.failed}
    assert isinstance(algorithm, Judge)
    leaders = algorithm.leading(5)
    assert 0 < len(leaders) == len(set(leaders)) <= 5
    assert set(leaders) <= successes
    rebuilt = _fold(_make(name), events)
    assert isinstance(rebuilt, Judge) and rebuilt.leading(5) == leaders


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", [separable, coupled, deceptive], ids=["separable", "coupled", "deceptive"])
def test_learning_beats_drawing(name: str, kind: Any) -> None:
    """Best of 100 evaluations on 24 knobs, the mean over two seeds, against random search with the same."""
    problem = Knapsack([4] * 24)

    def best(algorithm: str, seed: int) -> float:
        events = _search(_make(algorithm, problem, seed), problem, kind(problem, seed), 100)
        return min(event[3].values[0] for event in events if event[0] == "told")

    learned = np.mean([best(name, seed) for seed in range(2)])
    drawn = np.mean([best("random_search", seed) for seed in range(2)])
    assert learned < drawn


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_told_is_minimised(name: str) -> None:
    score = separable(PROBLEM)

    def late_mean(sign: float) -> float:
        events = _search(_make(name), PROBLEM, lambda genes: sign * score(genes), 120)
        return float(np.mean([score(event[2]) for event in events if event[0] == "asked"][-30:]))

    assert late_mean(1) < late_mean(-1)


@pytest.mark.parametrize("name", LEARNERS)
def test_results_of_a_lower_rung_never_outrank_those_of_a_higher_one(name: str) -> None:
    """The same plans; the first half reached rung 1 with poor values, the second stayed at rung 0 with fine ones."""
    rng = np.random.default_rng(0)
    plans = [tuple(map(int, row)) for row in PROBLEM.repair(rng.integers(0, 4, (80, 12)))]
    high = (3,) * 3 + (0,) * 9
    algorithm = _make(name)
    for id, genes in enumerate(plans):
        good = id < 40
        algorithm.asked(id, genes, {})
        distance = sum(abs(a - b) for a, b in zip(genes, high, strict=True)) / 36
        algorithm.tell(
            id, genes, Outcome((0.9 + 0.05 * distance,), 1) if good else Outcome((0.05 * (1 - distance),), 0)
        )
    answer = algorithm.ask(range(80, 110))
    assert isinstance(answer, list)
    suggested = np.array([proposal.genes for proposal in answer])
    nearer = np.abs(suggested - np.array(high)).sum(1).mean()
    assert nearer < np.abs(np.array(plans[40:]) - np.array(high)).sum(1).mean()


@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_integer_sphere_is_descended(name: str) -> None:
    """Ten knobs of nine levels, optimum at level 6: 400 evaluations end near it, far from where random search ends."""
    problem = Free([9] * 10)

    def sphere(genes: Genes) -> float:
        return float(sum((level - 6) ** 2 for level in genes))

    found = [
        min(
            event[3].values[0]
            for event in _search(_make(name, problem, seed), problem, sphere, 400)
            if event[0] == "told"
        )
        for seed in range(3)
    ]
    drawn = [
        min(
            event[3].values[0]
            for event in _search(_make("random_search", problem, seed), problem, sphere, 400)
            if event[0] == "told"
        )
        for seed in range(3)
    ]
    assert np.median(found) <= 6 < np.median(drawn)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_optimum_of_a_small_knapsack_is_found(name: str) -> None:
    """Nine knobs of three levels under a budget: every plan can be tried by hand, so the optimum is known."""
    problem = Knapsack([3] * 9, weights=[3, 1, 4, 1, 5, 9, 2, 6, 5])
    score = separable(problem)
    plans = np.array(list(product(range(3), repeat=9)))
    optimum = min(score(tuple(row)) for row in plans[(problem.costs(plans) <= problem.limits).all(1)].tolist())
    for seed in range(3):
        events = _search(_make(name, problem, seed), problem, score, 400)
        assert min(event[3].values[0] for event in events if event[0] == "told") == pytest.approx(optimum)
