"""Training through torch.compile, which needs a compiler."""

from __future__ import annotations

import pytest

from tests.trainers.small import CPU
from tests.trainers.test_loop import _batches, _net
from trainers.loop import Recipe, Trainer

pytestmark = pytest.mark.long


def test_a_compiled_network_learns_what_the_plain_one_does() -> None:
    losses = {}
    for compiled in (False, True):
        trainer = Trainer(_net(), Recipe(steps=12, lr=0.05, compiled=compiled, amp=False), CPU)
        losses[compiled] = [trainer.run(_batches()) for _ in range(2)]
        assert trainer.result is trainer.model
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
