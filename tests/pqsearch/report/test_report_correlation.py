"""Rank correlations with the interval that is promised, or the reason why there is none."""

from __future__ import annotations

from math import asin, pi

import numpy as np
import pytest

from pqsearch.report.correlation import final_correlations, rank_correlation
from pqsearch.report.correlation_words import final_sentences, rung_sentences, tau_words
from tests.pqsearch.report.made_up import correlation


def test_seven_plans_and_equal_plans_are_not_measured_and_say_why() -> None:
    few = rank_correlation([(0.1 * index, 0.1 * index) for index in range(7)])
    assert (few["tau"], few["low"], few["plans"], few["why"]) == (None, None, 7, "7 plans, it needs 8")
    assert rank_correlation([(0.1, 0.2)])["why"] == "1 plan, it needs 8"
    tied = rank_correlation([(0.5, 0.1 * index) for index in range(8)])
    assert (tied["tau"], tied["why"]) == (None, "all plans are equal there")


def test_a_perfect_ranking_of_few_plans_has_an_interval_with_a_width() -> None:
    found = rank_correlation([(index, index) for index in range(8)])
    assert (found["tau"], found["high"]) == (pytest.approx(1), pytest.approx(1))
    assert 0.4 < found["low"] < 0.9
    turned = rank_correlation([(index, -index) for index in range(8)])
    assert (turned["tau"], turned["low"]) == (pytest.approx(-1), pytest.approx(-1))
    assert -0.9 < turned["high"] < -0.4
    tied = rank_correlation([(index // 2, index // 2) for index in range(8)])
    assert tied["low"] < 0.95 < tied["tau"]


def test_the_interval_is_the_same_each_time_and_narrows_with_more_plans() -> None:
    rng = np.random.default_rng(3)
    pairs = [(value, value + rng.normal()) for value in rng.normal(size=3000)]
    few, many, most = (rank_correlation(pairs[:number]) for number in (10, 150, 3000))
    assert few == rank_correlation(pairs[:10])
    assert few["high"] - few["low"] > 2 * (many["high"] - many["low"])
    assert most["low"] < most["tau"] < most["high"]


@pytest.mark.parametrize(("plans", "rho"), [(8, 0.6), (8, 0.98), (20, 0.9)])
def test_the_interval_holds_what_it_promises(plans: int, rho: float) -> None:
    """Pairs drawn from a normal distribution, whose tau is known."""
    rng = np.random.default_rng(0)
    true, inside = 2 / pi * asin(rho), 0
    for _ in range(200):
        x = rng.normal(size=plans)
        found = rank_correlation(list(zip(x, rho * x + (1 - rho**2) ** 0.5 * rng.normal(size=plans), strict=True)))
        inside += found["low"] <= true <= found["high"]
    assert inside / 200 > 0.91


def test_a_good_proxy_correlates_positively_though_its_score_is_minimised() -> None:
    rows = [{"score": 1 - index / 10, "select_accuracy": index / 10, "test_accuracy": -index} for index in range(8)]
    found = final_correlations(rows)
    assert (found["select"]["tau"], found["test"]["tau"]) == (pytest.approx(1), pytest.approx(-1))


def test_words_say_the_number_its_interval_and_what_was_measured_on_what() -> None:
    (rung,) = rung_sentences([{"rung": 0, "next": 1, **rank_correlation([(i, i % 5) for i in range(9)])}])
    assert rung.startswith("Rung 1 with rung 2: Kendall τ 0.")
    assert rung.endswith("), 9 plans.")
    select, test = final_sentences(correlation(9))
    assert "over 9 plans spread over the scores, ranked by the proxy's loss" in select
    assert (
        "the selection slice (150 training images, which chose each checkpoint too): 1.00 (95 % interval 0." in select
    )
    assert test.startswith("With the final accuracy on the 1000 test images, which is reported and chooses nothing: ")


def test_words_say_why_nothing_is_measured() -> None:
    assert final_sentences(None, "runs/a") == [
        "Proxy with full fine-tune: not measured, since no plans spread over the scores are fully fine-tuned; "
        "`pqsearch correlate runs/a --plans 8` does that."
    ]
    assert tau_words(correlation(3)["test"]) == "not measured (3 plans, it needs 8)"
    nothing, failed = final_sentences(correlation(0, failed=1))
    assert nothing.endswith("not measured, since no plan is through it yet.")
    assert failed == "1 plan failed in the full fine-tune and is not counted."
