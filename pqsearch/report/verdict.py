"""From numbers to words: what to ship, and whether the difference is more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pqsearch.target_words import target_sentence

#: Differences smaller than this many standard errors are called noise.
ERRORS = 2.0
WORDS = {"uniform": "the uniform plan", "uniform_filled": "the uniform plan with its slack filled"}
#: Where a role of the summary keeps what a budget limits, if not under the budget's own name.
MEASURED_AS = {"params": "params_ratio", "weight_bits": "mean_weight_bits", "act_bits": "mean_act_bits"}

#: Costs that no rebuilt module shows: they are known from a table of measurements of single layers.
BY_TABLE = ("latency_ms",)


def paired_difference(a: NDArray[Any], b: NDArray[Any]) -> dict[str, float]:
    """Accuracy of `a` minus that of `b` over the same images (images,), right or not or scored in [0, 1], with the standard
    error of paired samples.

    Pairing counts only the images on which the two disagree (McNemar, 1947), so it is finer than two separate errors.
    """
    difference = a.astype(np.float64) - b.astype(np.float64)
    count = len(difference)
    error = float(difference.std(ddof=1) / count**0.5) if count > 1 else 0.0
    return {"value": float(difference.mean()), "standard_error": error, "images": count}


def reached(found: Mapping[str, Any], budget: str) -> float | None:
    """What a role of the summary has of what `budget` limits; None if it was not measured."""
    return found.get(MEASURED_AS.get(budget, budget))


def verdict(summary: Mapping[str, Any]) -> str:
    """What to ship, in sentences with numbers."""
    if not summary.get("searched"):
        return "Nothing is fine-tuned yet, so there is nothing to ship."
    differences = summary.get("differences", {})
    best = _best_rival(summary, differences)
    target = summary.get("target")
    # Uniform plans of a search for a target are of other sizes: they are no rivals of equal cost.
    sentences = [target_sentence(target)] if target else [_same_plan(summary) or _choice(best, differences)]
    for other, words in (
        ("baseline", "the float baseline"),
        ("baseline_finetuned", "the float baseline given the same extra training"),
    ):
        found = differences.get(f"searched - {other}")
        if found is not None:
            sentences.append(f"Against {words} it {_change(found)}.")
    gain = differences[f"searched - {best}"] if best and not target else None
    return " ".join([*sentences, *_budgets(summary), *_noise(summary, gain)])


def _best_rival(summary: Mapping[str, Any], differences: Mapping[str, Any]) -> str | None:
    rivals = [name for name in WORDS if f"searched - {name}" in differences]
    return max(rivals, key=lambda name: summary[name]["test_accuracy"], default=None)


def _same_plan(summary: Mapping[str, Any]) -> str | None:
    mine = summary["searched"].get("plan_hash")
    for name, words in WORDS.items():
        if mine and mine == (summary.get(name) or {}).get("plan_hash"):
            return f"Use {words}: the search found nothing better, the searched plan is that very plan."
    return None


def _choice(best: str | None, differences: Mapping[str, Any]) -> str:
    if best is None:
        return "Ship the searched plan; no uniform plan was fine-tuned to compare it with."
    found, words = differences[f"searched - {best}"], WORDS[best]
    if _clear(found):
        return f"Ship the searched plan: over {words}, the best of the uniform ones, it {_change(found)}."
    if found["value"] < -ERRORS * found["standard_error"]:
        return f"Use {words}: against it the searched plan {_change(found)}."
    return f"Use {words}: the searched plan {_change(found)} against it, and a difference of that size is noise."


def _clear(found: Mapping[str, float]) -> bool:
    """The gain is more than the error of the test images."""
    return found["value"] > max(0.0, ERRORS * found["standard_error"])


def _budgets(summary: Mapping[str, Any]) -> list[str]:
    found, limits = summary["searched"], summary.get("budgets") or {}
    if not limits:
        return []
    values = {name: reached(found, name) for name in limits}
    broken = [
        f"{name} {value:.4g} > {limits[name]:g}"
        for name, value in values.items()
        if value is not None and value > limits[name] * (1 + 1e-9)
    ]
    unknown = [name for name, value in values.items() if value is None]
    if broken:
        sentences = [f"It breaks its budgets: {', '.join(broken)}."]
    elif unknown:
        sentences = []
    else:
        listed = [name for name in limits if name in BY_TABLE]
        by_table = f" ({', '.join(listed)} by its table of measurements)" if listed else ""
        sentences = [f"As measured on the rebuilt module it holds every budget{by_table}."]
    return sentences + ([f"Not measured on the rebuilt module: {', '.join(unknown)}."] if unknown else [])


def _noise(summary: Mapping[str, Any], gain: Mapping[str, float] | None) -> list[str]:
    noise = summary.get("proxy_noise")
    if not noise:
        return []
    deviation = noise["standard_deviation"]
    sentence = (
        f"Training the same plan with another seed moves its proxy accuracy by {100 * deviation:.1f} "
        f"points (standard deviation, {noise['plans']} plans)"
    )
    # The gain compares two trainings, so the variances of both add.
    span = ERRORS * 2**0.5 * deviation
    if gain is not None and _clear(gain) and gain["value"] <= span:
        return [
            f"{sentence}, so two seeds may differ by {100 * span:.1f}: the gain is more than the error of the test "
            "images but not more than that. Run another study.seed before relying on it."
        ]
    return [f"{sentence}; differences between full fine-tunes below about that size may turn with the seed."]


def _change(found: Mapping[str, float]) -> str:
    verb = "gains" if found["value"] >= 0 else "loses"
    return (
        f"{verb} {100 * abs(found['value']):.2f} ± {100 * found['standard_error']:.2f} points "
        f"(paired over {found['images']} test images)"
    )
