"""A target in words: what was asked, whether a plan holds it, and what could be done if none does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def target_short(found: Mapping[str, Any]) -> str:
    """A few words for one line of a console."""
    if found["drop"] is None:
        return f"target {found['state']}"
    drop = found["drop"]
    return (
        f"target {found['state']}: {found['minimize']} {found['cost']:.6g}, "
        f"drop {drop['value']:.2f} ± {drop['standard_error']:.2f} of {found['max_drop']:g}"
    )


def target_sentence(found: Mapping[str, Any]) -> str:
    """What came of it, for a report."""
    asked = f"Asked for the least {found['minimize']} that loses at most {found['max_drop']:g} points"
    drop = found["drop"]
    if drop is None:
        return f"{asked}: undecided, no plan has been compared with the baseline yet."
    lost = f"{drop['value']:.2f} ± {drop['standard_error']:.2f} points on the scoring slice after the proxy's short training"
    if found["state"] == "held":
        return (
            f"{asked}: held by a plan of {found['minimize']} {found['cost']:.6g}. It loses {lost}, less than "
            f"{drop['high']:.2f} with 95 %."
        )
    if found["state"] == "infeasible":
        return (
            f"{asked}: infeasible, every plan surely loses more; the best loses {lost}. Lengthen the last of [[rungs]], or allow "
            "a larger target.max_drop."
        )
    return (
        f"{asked}: undecided. The nearest plan has {found['minimize']} {found['cost']:.6g} and loses {lost}, which may be as much "
        f"as {drop['high']:.2f}. More evaluations or a larger data.score_images can decide it."
    )
