"""Training through torch.compile, which needs a compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.gang import gang
from tests.trainers.small import CPU
from tests.trainers.test_loop import _batches, _net
from trainers.distributed import World
from trainers.loop import Recipe, Trainer

pytestmark = pytest.mark.long
HOW: dict[str, Any] = {"steps": 12, "lr": 0.05, "compiled": True, "amp": False}


def test_a_compiled_network_learns_what_the_plain_one_does() -> None:
    losses = {}
    for compiled in (False, True):
        trainer = Trainer(_net(), Recipe(steps=12, lr=0.05, compiled=compiled, amp=False), CPU)
        losses[compiled] = [trainer.run(_batches()) for _ in range(2)]
        assert trainer.result is trainer.model
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)


def _shared() -> list[float]:
    trainer = Trainer(_net(), Recipe(batch=16, frozen_norms=True, **HOW), CPU, world=World.joined())
    share = trainer.share(16)
    return [trainer.run([(images[share], labels[share]) for images, labels in _batches()]) for _ in range(2)]


def test_two_processes_compile_what_they_share(tmp_path: Path) -> None:
    trainer = Trainer(_net(), Recipe(frozen_norms=True, **HOW), CPU)
    alone = [trainer.run(_batches()) for _ in range(2)]
    with gang(2, tmp_path) as pair:
        first, second = pair.call(_shared)
    assert first == second == pytest.approx(alone, rel=1e-4)
