"""Rank correlations in words, for the page and the console: measured with an interval, or not measured and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def tau_words(found: Mapping[str, Any]) -> str:
    """`0.64 (95 % interval 0.21 to 0.86)`, or `not measured (5 plans, it needs 8)`."""
    if found["tau"] is None:
        return f"not measured ({found['why']})"
    return f"{found['tau']:.2f} (95 % interval {found['low']:.2f} to {found['high']:.2f})"


def rung_sentences(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """One for each rung with the next."""
    sentences = []
    for row in found:
        plans = f", {row['plans']} plans" if row["tau"] is not None else ""
        sentences.append(f"Rung {row['rung'] + 1} with rung {row['next'] + 1}: Kendall τ {tau_words(row)}{plans}.")
    return sentences


def final_sentences(found: Mapping[str, Any] | None, run_dir: str = "RUN_DIR") -> list[str]:
    """Of the proxy with the full fine-tune; `found` is the content of correlation.json, None before there is one."""
    if found is None:
        return [
            "Proxy with full fine-tune: not measured, since no plans spread over the scores are fully fine-tuned; "
            f"`pqsearch correlate {run_dir} --plans 8` does that."
        ]
    plans = found["plans"]
    if plans:
        select, test = (f"{plans[0][f'{part}_images']}" for part in ("select", "test"))
        sentences = [
            f"Proxy with full fine-tune, Kendall τ over {len(plans)} plans spread over the scores, ranked by the proxy's "
            f"{found['score']} and by the final accuracy on the selection slice ({select} training images, which chose each "
            f"checkpoint too): {tau_words(found['select'])}.",
            f"With the final accuracy on the {test} test images, which is reported and chooses nothing: "
            f"{tau_words(found['test'])}.",
        ]
    else:
        sentences = ["Proxy with full fine-tune: not measured, since no plan is through it yet."]
    if found["failed"]:
        number = len(found["failed"])
        sentences.append(
            f"{number} {'plan' if number == 1 else 'plans'} failed in the full fine-tune and "
            f"{'is' if number == 1 else 'are'} not counted."
        )
    return sentences
