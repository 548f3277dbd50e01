"""From numbers to words: what to ship, and whether the difference is more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Differences smaller than this many standard errors are called noise.
ERRORS = 2.0
WORDS = {"uniform": "the uniform plan", "uniform_filled": "the uniform plan with its slack filled"}


def paired_difference(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> dict[str, float]:
    """Accuracy of `a` minus that of `b` over the same images (images,), with the standard error of paired samples.

    Pairing counts only the images on which the two disagree (McNemar, 1947), so it is finer than two separate errors.
    """
    difference = a.astype(np.float64) - b.astype(np.float64)
    count = len(difference)
    error = float(difference.std(ddof=1) / count**0.5) if count > 1 else 0.0
    return {"value": float(difference.mean()), "standard_error": error, "images": count}


def verdict(summary: Mapping[str, Any]) -> str:
    """What to ship, in sentences with numbers."""
    if not summary.get("searched"):
        return "Nothing is fine-tuned yet, so there is nothing to ship."
    differences = summary["differences"]
    sentences = [_choice(summary, differences)]
    for other, words in (
        ("baseline", "the float baseline"),
        ("baseline_finetuned", "the float baseline given the same extra training"),
    ):
        found = differences.get(f"searched - {other}")
        if found is not None:
            sentences.append(f"Against {words} it {_change(found)}.")
    broken = _broken(summary)
    sentences.append(
        "As measured on the rebuilt module it holds every budget."
        if not broken
        else f"It breaks its budgets: {', '.join(broken)}."
    )
    noise = summary.get("proxy_noise")
    if noise:
        sentences.append(
            f"Training the same plan with another seed moves its proxy accuracy by {100 * noise['standard_deviation']:.1f} "
            f"points (standard deviation, {noise['plans']} plans); differences between full fine-tunes below about that "
            "size may turn with the seed."
        )
    return " ".join(sentences)


def _choice(summary: Mapping[str, Any], differences: Mapping[str, Any]) -> str:
    rivals = [name for name in ("uniform", "uniform_filled") if f"searched - {name}" in differences]
    if not rivals:
        return "Ship the searched plan; no uniform plan was fine-tuned to compare it with."
    best = max(rivals, key=lambda name: summary[name]["test_accuracy"])
    found = differences[f"searched - {best}"]
    words = WORDS[best]
    for name in rivals:
        if summary["searched"].get("plan_hash") and summary["searched"]["plan_hash"] == summary[name].get("plan_hash"):
            return f"Use {WORDS[name]}: the search found nothing better, its winner is that very plan."
    if found["value"] > ERRORS * found["standard_error"] and found["value"] > 0:
        return f"Ship the searched plan: over {words}, the best of the uniform ones, it {_change(found)}."
    if found["value"] < -ERRORS * found["standard_error"]:
        return f"Use {words}: against it the searched plan {_change(found)}."
    return f"Use {words}: the searched plan {_change(found)} against it, and a difference of that size is noise."


def _change(found: Mapping[str, float]) -> str:
    verb = "gains" if found["value"] >= 0 else "loses"
    return (
        f"{verb} {100 * abs(found['value']):.2f} ± {100 * found['standard_error']:.2f} points "
        f"(paired over {found['images']} test images)"
    )


def _broken(summary: Mapping[str, Any]) -> list[str]:
    keys = {"params": "params_ratio", "weight_bits": "mean_weight_bits", "act_bits": "mean_act_bits"}
    found = summary["searched"]
    return [
        f"{name} {found[keys.get(name, name)]:.4g} > {limit:g}"
        for name, limit in summary["budgets"].items()
        if found[keys.get(name, name)] > limit * (1 + 1e-9)
    ]
