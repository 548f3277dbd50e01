"""The frame of the arena: what is charged, what is not, and which plan is in hand."""

from __future__ import annotations

import numpy as np
import pytest

from arena.contest import FREE, MOST_ASKED, Contender, Handling, Knobs, Leaders, Objective, Spent, run, seeds_of
from pqsearch.prepare import prepare
from pqsearch.problem import FloatArray, IntArray, Problem
from pqsearch.spec import parse_spec
from tests.benchmarks.standin import landscape
from tests.conftest import small_spec

PROBLEM, SCORE, TRUTH = landscape()
CHEAPEST = np.zeros((1, 10), dtype=np.int64)
DEAREST = np.array([PROBLEM.levels]) - 1


def _drawn(number: int, seed: int = 0) -> IntArray:
    return np.random.default_rng(seed).integers(0, PROBLEM.levels, (number, 10))


def _distinct(number: int) -> IntArray:
    """Repaired plans, no two alike."""
    return np.unique(PROBLEM.repair(_drawn(20 * number)), axis=0)[:number]


def _scripted(*batches: IntArray) -> tuple[Contender, list[float]]:
    """A contender that asks for given plans; `answers` has what it was told."""
    answers: list[float] = []

    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        for batch in batches:
            answers.extend(objective(batch))

    return contend, answers


def test_the_plan_in_hand_is_the_best_by_noisy_value_and_counts_by_its_true_one() -> None:
    plans = _distinct(12)
    contend, answers = _scripted(plans)
    trace = run(contend, PROBLEM, SCORE, TRUTH, 12, 0)
    chosen = [int(np.argmin(answers[: count + 1])) for count in range(12)]
    assert trace.values.tolist() == TRUTH(plans)[chosen].tolist()
    assert (trace.used, trace.asked, trace.over) == (12, 12, 0)


def test_a_contender_may_hand_over_what_it_takes_for_better_until_it_measures_again() -> None:
    plans = _distinct(4)
    worst: list[int] = []

    def contend(problem: Problem, objective: Objective, evaluations: int, seed: int) -> None:
        answers = objective(plans[:3])
        worst.append(int(np.argmax(answers)))
        objective.hand_over(tuple(plans[worst[0]].tolist()))
        with pytest.raises(ValueError, match="only a measured plan"):
            objective.hand_over(tuple(plans[3].tolist()))
        worst.append(int(np.argmin([*answers, *objective(plans[3:])])))

    trace = run(contend, PROBLEM, SCORE, TRUTH, 5, 0)
    assert trace.values[2:].tolist() == TRUTH(plans[[worst[0], worst[1], worst[1]]]).tolist()


def test_evaluations_beyond_the_budget_are_refused_and_the_batch_counts_up_to_there() -> None:
    contend, answers = _scripted(_distinct(12)[:6], _distinct(12)[6:])
    trace = run(contend, PROBLEM, SCORE, TRUTH, 8, 0)
    assert len(answers) == 6
    assert len(trace.values) == trace.used == 8


def test_a_contender_that_stops_early_keeps_its_plan() -> None:
    contend, _ = _scripted(_distinct(3))
    trace = run(contend, PROBLEM, SCORE, TRUTH, 6, 0)
    assert trace.used == 3
    assert trace.values[3:].tolist() == [trace.values[2]] * 3


def test_equal_plans_are_charged_once_and_keep_their_value() -> None:
    plan = _distinct(1)
    contend, answers = _scripted(np.repeat(plan, 5, axis=0), plan)
    trace = run(contend, PROBLEM, SCORE, TRUTH, 4, 0)
    assert len(set(answers)) == 1
    assert (trace.used, trace.asked) == (1, 6)


def test_repeating_oneself_does_not_go_on_for_ever() -> None:
    objective = Objective(PROBLEM, SCORE, TRUTH, 2, 0)
    for _ in range(2 * MOST_ASKED):
        objective(CHEAPEST)
    with pytest.raises(Spent):
        objective(CHEAPEST)


def test_repair_maps_plans_before_they_are_scored_unless_they_are_exact() -> None:
    objective = Objective(PROBLEM, SCORE, TRUTH, 9, 0)
    assert objective(CHEAPEST) == objective(PROBLEM.repair(CHEAPEST))
    assert objective(CHEAPEST, exact=True) != objective(CHEAPEST)
    assert objective(DEAREST) < TRUTH(CHEAPEST)
    assert objective.trace().over == 0


def test_plans_over_a_budget_are_free_worse_than_the_cheapest_and_never_in_hand() -> None:
    contend, answers = _scripted(DEAREST, DEAREST - [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1]], CHEAPEST)
    trace = run(contend, PROBLEM, SCORE, TRUTH, 3, 0, "penalty")
    assert answers[0] > answers[1] > TRUTH(CHEAPEST)
    assert (trace.used, trace.over) == (1, 2)
    assert trace.values.tolist() == TRUTH(CHEAPEST).tolist() * 3


def test_without_a_plan_that_holds_the_budgets_nothing_is_in_hand() -> None:
    contend, _ = _scripted(DEAREST)
    assert run(contend, PROBLEM, SCORE, TRUTH, 2, 0, "penalty").values.tolist() == [np.inf] * 2


def test_too_many_plans_over_a_budget_are_charged() -> None:
    over = np.unique(_drawn(5000), axis=0)
    over = over[(PROBLEM.costs(over) > PROBLEM.limits).any(1)][: 2 * FREE + 2]
    contend, _ = _scripted(CHEAPEST, over)
    trace = run(contend, PROBLEM, SCORE, TRUTH, 2, 0, "penalty")
    assert (trace.used, trace.over) == (2, 2 * FREE + 1)
    assert trace.values.tolist() == TRUTH(CHEAPEST).tolist() * 2


def test_excess_is_the_share_beyond_each_limit() -> None:
    objective = Objective(PROBLEM, SCORE, TRUTH, 1, 0, "penalty")
    assert objective.excess(DEAREST) == pytest.approx(1 / 0.6 - 1)  # the limit is 0.6 of the dearest
    assert objective.excess(CHEAPEST) == pytest.approx(-1.0)


def test_levels_out_of_range_are_an_error_of_the_contender() -> None:
    with pytest.raises(ValueError, match="levels must be from 0"):
        Objective(PROBLEM, SCORE, TRUTH, 1, 0)(DEAREST + 1)


def test_noise_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, second, third = (Objective(PROBLEM, SCORE, TRUTH, 1, seed)(CHEAPEST)[0] for seed in (0, 0, 1))
    assert first == second != third


def test_the_stand_in_has_plain_seeds_that_are_not_filled() -> None:
    assert len({proposal.genes for proposal in seeds_of(PROBLEM)}) == len(seeds_of(PROBLEM)) >= 2


@pytest.mark.parametrize("handling", ["repair", "penalty"])
def test_starts_are_the_seeds_of_a_search_each_once(handling: Handling) -> None:
    assert not len(Objective(PROBLEM, SCORE, TRUTH, 1, 0, handling).starts)
    starts = Objective(PROBLEM, SCORE, TRUTH, 1, 0, handling, starts=True).starts
    assert (PROBLEM.costs(starts) <= PROBLEM.limits).all()
    assert len(np.unique(starts, axis=0)) == len(starts)
    filled = {proposal.genes for proposal in seeds_of(PROBLEM) if not proposal.exact}
    plain = {proposal.genes for proposal in seeds_of(PROBLEM) if proposal.exact}
    assert set(map(tuple, starts.tolist())) == (filled | plain if handling == "penalty" else filled)


def test_only_knobs_that_can_be_turned_are_searched() -> None:
    knobs = Knobs(PROBLEM)
    assert knobs.free.tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert knobs.top.tolist() == [3, *[2] * 8]
    assert (knobs.genes(knobs.top) == DEAREST).all()


def test_a_lucky_plan_is_not_handed_over_once_leading_plans_are_confirmed() -> None:
    lucky, good = (0,), (1,)
    true = {lucky: 5.0, good: 0.0}

    def score(genes: IntArray, rng: np.random.Generator) -> FloatArray:
        return np.array([true[tuple(row)] for row in genes.tolist()])

    for confirm, expected in ((0, lucky), (2, good)):
        leaders = Leaders(confirm, score, (0,))
        leaders.add(-3.0, lucky)
        leaders.add(0.0, good)
        assert leaders.best == expected


def test_confirming_is_not_charged_and_changes_no_answer() -> None:
    plans = _distinct(6)
    contend, answers = _scripted(plans)
    again, same = _scripted(plans)
    assert (
        run(contend, PROBLEM, SCORE, TRUTH, 6, 0).used == run(again, PROBLEM, SCORE, TRUTH, 6, 0, confirm=4).used == 6
    )
    assert answers == same


def test_a_space_with_a_prior_begins_with_the_plans_of_least_damage_too() -> None:
    plain = prepare(parse_spec(small_spec())).space
    prior = [[float(count - level) for level in range(count)] for count in plain.levels]
    found = seeds_of(plain.with_prior(prior))
    informed = [proposal for proposal in found if proposal.memo.get("role") == "sensitivity_ilp"]
    assert 1 <= len(informed) == len(found) - len(seeds_of(plain))
