from __future__ import annotations

import math

import pytest
import torch

from trainers.loop import Recipe
from trainers.schedules import CYCLE_END, CYCLE_RISE, CYCLE_START, schedule


def test_the_rate_rises_linearly_and_falls_along_half_a_cosine_to_zero() -> None:
    recipe = Recipe(steps=104, lr=1.0, warmup_steps=4)
    assert [schedule(step, recipe) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert schedule(4, recipe) == 1
    assert schedule(29, recipe) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert schedule(54, recipe) == pytest.approx(0.5)
    assert schedule(104, recipe) == pytest.approx(0)


def test_steps_leave_a_tenth_at_each_milestone_behind_the_warm_up() -> None:
    recipe = Recipe(steps=100, lr=1.0, warmup_steps=4, schedule="step", milestones=(0.5, 0.8))
    assert [schedule(step, recipe) for step in (0, 4, 49, 50, 79, 80, 99)] == pytest.approx(
        [0.2, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    )


def test_one_cycle_is_that_of_torch() -> None:
    recipe = Recipe(steps=101, lr=0.3, schedule="one_cycle", warmup_steps=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.3,
        # It counts from its first step to its last one; we from the first step to the end of the last.
        total_steps=102,
        pct_start=(CYCLE_RISE * 101 + 1) / 102,
        div_factor=1 / CYCLE_START,
        final_div_factor=1 / CYCLE_END,
    )
    for step in range(101):
        assert 0.3 * schedule(step, recipe) == pytest.approx(theirs.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("kind", ["cosine", "step", "one_cycle"])
def test_no_schedule_leaves_what_a_rate_may_be(kind: str) -> None:
    recipe = Recipe(steps=30, lr=1.0, schedule=kind, warmup_steps=2.5)
    assert all(0 < schedule(step, recipe) <= 1 for step in range(30))
