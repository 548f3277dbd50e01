"""The learning rate along a training, as a share of its peak."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.loop import Recipe

#: One cycle begins at 1/25 of its peak, takes three tenths of its length up, and ends at 1/10,000 of where it began.
CYCLE_START, CYCLE_RISE, CYCLE_END = 1 / 25, 0.3, 1e-4
#: What a step leaves of the rate.
STEP_LEAVES = 0.1


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the peak rate in a step: a linear rise over the warm-up, then as the recipe says. Never a jump between them."""
    if recipe.schedule != "one_cycle" and step < recipe.warmup_steps:
        return (step + 1) / (recipe.warmup_steps + 1)
    return _KINDS[recipe.schedule](step, recipe)


def _cosine(step: int, recipe: Recipe) -> float:
    """Half a cosine to zero over what the warm-up leaves (Loshchilov and Hutter, ICLR 2017, without restarts)."""
    rest = max(1.0, recipe.steps - recipe.warmup_steps)
    return _half_cosine(1.0, 0.0, (step - recipe.warmup_steps) / rest)


def _step(step: int, recipe: Recipe) -> float:
    """A tenth of the rate from each milestone on."""
    passed = sum(step >= milestone * recipe.steps for milestone in recipe.milestones)
    return STEP_LEAVES**passed


def _one_cycle(step: int, recipe: Recipe) -> float:
    """Up along half a cosine and down along another (Smith and Topin, 2018); it is its own warm-up."""
    top = CYCLE_RISE * recipe.steps
    if step < top:
        return _half_cosine(CYCLE_START, 1.0, step / top)
    return _half_cosine(1.0, CYCLE_START * CYCLE_END, (step - top) / max(1.0, recipe.steps - top))


def _half_cosine(begin: float, end: float, part: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))


_KINDS: dict[str, Callable[[int, Recipe], float]] = {"cosine": _cosine, "step": _step, "one_cycle": _one_cycle}
