"""A real run directory with a real study in it, journal, lock and mirror, whose evaluations are computed in place of trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pqsearch.local import run_locally
from pqsearch.open_study import OpenedStudy, open_study
from pqsearch.plan import Accuracy, GroupInfo, Item, LayerInfo, ModelInfo, Result, Source
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec
from tests.conftest import small_spec

IMAGES = 100


def model_info(planted: str, convolutions: int = 5) -> ModelInfo:
    """A chain of convolutions and a classifier on 8 x 8 images; the second layer has the name given."""
    names = [planted if number == 1 else f"body.conv{number}" for number in range(convolutions)]
    layers = [
        LayerInfo(
            name, "conv", (Source(place - 1, 16 if place else 1),), place, 16 if place else 1, 16, 9, 1, 64, 64, False
        )
        for place, name in enumerate(names)
    ]
    layers.append(
        LayerInfo("linear", "linear", (Source(convolutions - 1, 16),), convolutions, 16, 10, 1, 1, 1, 1, True)
    )
    groups = [GroupInfo(name, 16, 1, (name,), True) for name in names]
    groups.append(GroupInfo("linear", 10, 1, ("linear",), False, "its channels are the model's outputs"))
    return ModelInfo(tuple(layers), tuple(groups), (), 0, (1, 8, 8))


def evaluate(item: Item) -> Result:
    """More bits and more channels are better; candidate 3 fails."""
    if item.kind == "gradients":
        costs = tuple(0.01 * (1 + place) for place in range(len(item.changes)))
        return Result(item.id, 0, 0, None, None, {"gradients": 0.5}, expected=costs)
    if item.id == 3:
        raise RuntimeError("<b>out of memory</b>")
    bits = [knobs.weight_bits + knobs.act_bits for knobs in item.plan.layers.values()]
    score = 0.4 + 0.02 * sum(bits) / len(bits) - 0.1 * sum(item.plan.groups.values()) + 0.03 * item.rung
    weights = None if item.last else f"{item.id}-{item.repeat}-{item.rung}.pth"
    return Result(item.id, item.rung, item.repeat, Accuracy(score, IMAGES), 1 - score, {"train": 0.25}, weights)


def begin(folder: Path, layer: str = "body.conv1", **changes: Any) -> RunDirectory:
    """A run directory in which a search may begin; one layer has the name given."""
    spec = parse_spec(small_spec(study__run_dir=str(folder / "run"), **changes))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    run.write(run.layers, model_info(layer).to_json())
    run.begin_journal(spec.study.name)
    (run.logs / "pqsearch.log").write_text("2026-01-01T00:00:00 search 0/6\n")
    return run


@contextmanager
def opened(run: RunDirectory, layer: str = "body.conv1", **changes: Any) -> Iterator[OpenedStudy]:
    """The run's study, held for as long as the context lasts; `changes` to its spec, as for one that goes on."""
    spec = parse_spec(small_spec(study__run_dir=str(run.path), **changes))
    found = open_study(spec, run, model_info(layer), "no baseline")
    try:
        yield found
    finally:
        found.mirror.follow(found.study.candidates())
        found.close()


def search(run: RunDirectory, most: int | None = None, layer: str = "body.conv1", **changes: Any) -> None:
    """Search to the end, or until about `most` evaluations are done."""
    with opened(run, layer, **changes) as found:
        for seat in ("worker-0", "worker-1"):
            run_locally(found.study, evaluate, seat, None if most is None else most // 2)
