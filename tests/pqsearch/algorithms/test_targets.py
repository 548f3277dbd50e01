"""What the surrogate is given of results: arrays in the order of candidates, and one number for each."""

from __future__ import annotations

import numpy as np

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._targets import LIMIT, Results, lowest, targets, weightings
from pqsearch.problem import Genes, Outcome


def _given(words: list[tuple[int, Genes, Outcome]], every: int) -> Results:
    """Results that were looked at after each `every` words."""
    archive, results = Archive(), Results()
    for number, word in enumerate(words):
        if archive.tell(*word):
            results.add(*word)
        if number % every == 0:
            results.arrays()
    return results


def test_results_are_those_that_count_in_the_order_of_candidates_whenever_one_looks() -> None:
    rng = np.random.default_rng(0)
    words: list[tuple[int, Genes, Outcome]] = []
    for id in rng.permutation(200).tolist():
        for rung in range(int(rng.integers(1, 4))):
            outcome = Outcome((), rung, failed=True) if rng.random() < 0.1 else Outcome((float(rng.random()),), rung)
            words.append((id, (id, rung % 2), outcome))
    words = [words[place] for place in rng.permutation(len(words)).tolist()]
    archive = Archive()
    for word in words:
        archive.tell(*word)
    for every in (1, 7, 1000):
        results = _given(words, every)
        ids, rungs, values = results.arrays()
        told = archive.told()
        assert len(results) == len(told)
        assert ids.tolist() == [id for id, *_ in told]
        assert results.genes(ids).tolist() == [list(genes) for _, genes, _ in told]
        assert rungs.tolist() == [-1 if outcome.failed else outcome.rung for *_, outcome in told]
        assert values[:, 0].tolist() == [outcome.values[0] if outcome.values else 0.0 for *_, outcome in told]


def test_before_the_first_success_nobody_knows_how_many_objectives_there_are() -> None:
    results = _given([(0, (0,), Outcome((), failed=True))], 1)
    assert results.arrays()[2].shape == (1, 0)
    assert targets(*results.arrays()[1:], np.ones(1)).tolist() == [0.0]
    results.add(1, (1,), Outcome((0.5, 3.0)))
    assert results.arrays()[2].tolist() == [[0.0, 0.0], [0.5, 3.0]]
    (behind, best) = targets(*results.arrays()[1:], weightings(2)[0])
    assert (best, behind) == (0.0, LIMIT)


def test_failures_rank_behind_lower_rungs_and_those_behind_higher_ones() -> None:
    outcomes = (
        Outcome((0.9,), 1),
        Outcome((0.1,), 0),
        Outcome((), failed=True),
        Outcome((0.8,), 1),
        Outcome((), 1, failed=True),
    )
    results = _given([(id, (id,), outcome) for id, outcome in enumerate(outcomes)], 1)
    found = targets(*results.arrays()[1:], np.ones(1))
    assert found[3] < found[0] < found[1] < found[2] == found[4]


def test_each_rung_is_weighed_in_its_own_ranges() -> None:
    """Scores of the lower rung are ten times as far apart; costs are the same."""
    rng = np.random.default_rng(0)
    scores, costs = rng.random(20), rng.random(20)
    high, low = np.stack([scores, costs], 1), np.stack([10 * scores + 3, costs], 1)
    both = np.concatenate([high, low])
    rungs = np.repeat([1, 0], 20)
    for weights in weightings(2):
        found = targets(rungs, both, weights)
        assert np.argsort(found[:20], kind="stable").tolist() == np.argsort(found[20:], kind="stable").tolist()
        assert np.allclose(found[:20], targets(rungs[:20], high, weights))


def test_two_objectives_are_weighed_from_all_for_the_score_to_all_but_none() -> None:
    assert weightings(1).tolist() == [[1.0]]
    assert weightings(2).tolist() == [[1 - step / 8, step / 8] for step in range(8)]


def test_with_more_objectives_the_costs_are_weighed_against_each_other_too() -> None:
    for objectives in (3, 4, 5, 7):
        found = weightings(objectives)
        assert found[0].tolist() == [1.0] + [0.0] * (objectives - 1)
        assert np.allclose(found.sum(1), 1) and (found[:, 0] > 0).all() and len(found) <= 10
        assert len(np.unique(found, axis=0)) == len(found)
        for cost in range(1, objectives):
            others = [other for other in range(1, objectives) if other != cost]
            assert (found[:, [cost]] > found[:, others]).all(1).any()


def test_the_lowest_are_those_that_a_stable_sort_puts_first() -> None:
    values = np.random.default_rng(0).integers(0, 9, 50).astype(np.float64)
    for number in (1, 10, 25, 50, 60):
        assert lowest(values, number).tolist() == sorted(np.argsort(values, kind="stable")[:number].tolist())
