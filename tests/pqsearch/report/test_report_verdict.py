"""The verdict says what the numbers say, and no more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pqsearch.report.verdict import paired_difference, reached, verdict
from tests.pqsearch.report.made_up import difference, role, summary


def _against_uniform(value: float, error: float = 0.005, **changes: Any) -> str:
    found = {"searched - uniform": difference(0.04), "searched - uniform_filled": difference(value, error)}
    return verdict(summary(differences=found, **changes))


def test_a_paired_difference_is_the_difference_of_the_accuracies() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(500) < 0.9, rng.random(500) < 0.8
    found = paired_difference(a, b)
    assert found["value"] == pytest.approx(a.mean() - b.mean())
    assert found["images"] == 500
    assert paired_difference(b, a)["value"] == -found["value"]
    assert paired_difference(b, a)["standard_error"] == found["standard_error"]


def test_a_paired_error_is_finer_than_two_separate_ones_where_networks_agree() -> None:
    a = np.arange(1000) < 900
    b = a ^ (np.arange(1000) % 100 == 0)
    separate = math.sqrt(a.mean() * (1 - a.mean()) / 1000 + b.mean() * (1 - b.mean()) / 1000)
    assert 0 < paired_difference(a, b)["standard_error"] < separate


def test_one_image_has_no_error_to_speak_of() -> None:
    assert paired_difference(np.array([True]), np.array([False])) == {"value": 1.0, "standard_error": 0.0, "images": 1}


def test_a_clear_gain_over_the_better_uniform_plan_ships() -> None:
    text = _against_uniform(0.03)
    assert text.startswith(
        "Ship the searched plan: over the uniform plan with its slack filled, the best of the uniform ones, "
        "it gains 3.00 ± 0.50 points (paired over 1000 test images)."
    )


def test_the_better_uniform_plan_is_the_rival_whichever_it_is() -> None:
    found = {"searched - uniform": difference(0.001), "searched - uniform_filled": difference(0.2)}
    text = verdict(summary(differences=found, uniform=role(0.939), uniform_filled=role(0.74)))
    assert text.startswith("Use the uniform plan: the searched plan gains 0.10 ± 0.50 points")


@pytest.mark.parametrize(("value", "ships"), [(0.0101, True), (0.0099, False)])
def test_two_standard_errors_are_the_border(value: float, ships: bool) -> None:
    assert _against_uniform(value).startswith("Ship") is ships


def test_no_difference_without_an_error_is_noise() -> None:
    assert "a difference of that size is noise" in _against_uniform(0.0, 0.0)


def test_a_clear_loss_is_not_called_noise() -> None:
    text = _against_uniform(-0.03)
    assert text.startswith("Use the uniform plan with its slack filled: against it the searched plan loses 3.00 ± 0.50")
    assert "noise" not in text


def test_a_gain_within_the_noise_of_training_is_shipped_with_a_reservation() -> None:
    noise = {"standard_deviation": 0.02, "plans": 8, "repeats": 3}
    text = _against_uniform(0.03, proxy_noise=noise)
    assert text.startswith("Ship the searched plan")
    assert "two seeds may differ by 5.7" in text
    assert "Run another study.seed before relying on it." in text
    assert "another study.seed" not in _against_uniform(0.06, proxy_noise=noise)
    assert "may turn with the seed" in _against_uniform(0.06, proxy_noise=noise)


@pytest.mark.parametrize(
    ("name", "words"), [("uniform", "the uniform plan"), ("uniform_filled", "the uniform plan with its slack filled")]
)
def test_a_search_that_ends_at_a_uniform_plan_found_nothing_better(name: str, words: str) -> None:
    same = role(0.94, plan_hash="abc")
    text = verdict(summary(**{"searched": same, name: same}))
    assert text.startswith(f"Use {words}: the search found nothing better, the searched plan is that very plan.")


def test_the_drop_is_told_against_both_baselines() -> None:
    text = verdict(summary())
    assert "Against the float baseline it loses 1.00 ± 0.50 points" in text
    assert "Against the float baseline given the same extra training it loses 1.50 ± 0.50 points" in text


def test_budgets_are_held_broken_or_not_measured() -> None:
    assert "it holds every budget" in verdict(summary())
    broken = verdict(summary(searched=role(0.94, mean_act_bits=4.25, flops=0.6)))
    assert "It breaks its budgets: flops 0.6 > 0.5, act_bits 4.25 > 4." in broken
    assert "holds every budget" not in broken
    unknown = verdict(summary(budgets={"flops": 0.5, "latency_ms": 3.0}))
    assert "Not measured on the rebuilt module: latency_ms." in unknown
    assert "holds every budget" not in unknown


def test_a_budget_reads_the_summary_under_its_own_name_or_the_one_it_has_there() -> None:
    found = role(0.9, params_ratio=0.3, size_bytes=10)
    assert [reached(found, name) for name in ("params", "size_bytes", "act_bits", "unheard")] == [0.3, 10, 4.0, None]


def test_without_a_rival_or_a_search_it_says_so() -> None:
    assert "no uniform plan was fine-tuned to compare it with" in verdict(summary(differences={}))
    assert verdict(summary(searched=None)) == "Nothing is fine-tuned yet, so there is nothing to ship."
