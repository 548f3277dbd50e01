"""What is wrong with a spec's values, one line per problem with the field, the value and what would be right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from pqsearch import rooms
from pqsearch.process_problems import process_problems
from pqsearch.space_problems import space_problems
from pqsearch.study_problems import study_problems
from pqsearch.type_problems import fields_of, is_number

#: Resources that Ray counts by itself.
RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")


def _quantizer(data: Mapping[str, Any], root: type[BaseModel]) -> str:
    """The one that is named, or the default where that is none; which is told elsewhere."""
    section, default = data.get("quantizer"), fields_of(("quantizer",), root)["name"].default
    name = section.get("name") if isinstance(section, dict) else None
    return name if name in rooms.names("quantizers") else default


def value_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """What the types cannot say. Works on raw values, so that these come with the type errors."""
    yield from study_problems(data, root)
    space = data.get("space")
    if isinstance(space, dict):
        yield from space_problems(space, _quantizer(data, root))
    fixed = data.get("fixed_point")
    if isinstance(fixed, dict) and fixed.get("equalize") is True and fixed.get("merge_batch_norm") is False:
        yield (
            "fixed_point.equalize: scales layers that batch norm is merged into, fixed_point.merge_batch_norm is false, got true; "
            "leave one of them out"
        )
    if isinstance(fixed, dict) and fixed.get("plan_bits") is True:
        for key in ("weight_bits", "act_bits"):
            levels = space.get(key) if isinstance(space, dict) else None
            if isinstance(levels, list) and 1 in levels:
                yield (
                    f"fixed_point.plan_bits: space.{key} has 1, a step that is a power of two has 2 to 16 bits, got true; "
                    "leave it out"
                )
    workers = data.get("workers")
    gpus = workers.get("gpus", 0) if isinstance(workers, dict) else 0
    for key in ("baseline", "finetune"):
        if isinstance(data.get(key), dict):
            yield from _training_problems(key, data[key])
            yield from process_problems(key, data[key], gpus, fields_of((key,), root)["batch_size"].default)
    if isinstance(task := data.get("task"), dict):
        yield from _task_problems(task, data)
    rungs = data.get("rungs")
    for index, rung in enumerate(rungs if isinstance(rungs, list) else []):
        kind, steps = (rung.get("kind"), rung.get("steps", 0)) if isinstance(rung, dict) else (None, 0)
        if not is_number(steps):
            continue
        if kind == "calibrate" and steps > 0:
            yield f"rungs[{index}].steps: must be 0 when kind is 'calibrate', got {steps}"
        if kind in ("few_shot", "fine_tune") and steps == 0:
            yield f"rungs[{index}].steps: must be at least 1 when kind is {kind!r}, got 0"
    if isinstance(halving := data.get("halving"), dict):
        yield from _halving_problems(halving, rungs, data.get("study"))
    if isinstance(workers, dict) and isinstance(resources := workers.get("resources"), dict):
        yield from _resource_problems(resources)


def _resource_problems(resources: Mapping[str, Any]) -> Iterator[str]:
    for name, number in resources.items():
        if name in RAYS_OWN:
            yield f"workers.resources.{name}: is one of Ray's own; workers.cpus and workers.gpus say what a worker takes"
        elif is_number(number) and not (
            0 < number <= 1 or (math.isfinite(number) and number > 0 and number == int(number))
        ):
            yield f"workers.resources.{name}: must be a share above 0 or a whole number, got {number!r}"


def _halving_problems(halving: Mapping[str, Any], rungs: Any, study: Any) -> Iterator[str]:
    if isinstance(rungs, list) and len(rungs) == 1:
        yield "halving: decides who goes on to the next rung, but there is one rung; add a [[rungs]] before it, or leave it out"
    objectives = study.get("objectives") if isinstance(study, dict) else None
    if halving.get("kind") == "promotion" and isinstance(objectives, list) and len(objectives) > 1:
        yield f"halving.kind: 'promotion' ranks by one objective, study.objectives has {len(objectives)}; use 'stopping'"


def _training_problems(key: str, section: Mapping[str, Any]) -> Iterator[str]:
    marks = section.get("milestones")
    if not isinstance(marks, list) or not all(map(is_number, marks)):
        return
    if any(not 0 < mark < 1 for mark in marks) or sorted(set(marks)) != marks:
        yield f"{key}.milestones: must rise and lie between 0 and 1, the whole training, got {marks}"


def _task_problems(task: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    for key in ("loss", "metric"):
        name = task.get(key)
        if isinstance(name, str) and not all(name.partition(":")):
            yield f"task.{key}: must be module:function, got {name!r}"
        if name is None and task.get(f"{key}_options"):
            yield f"task.{key}_options: are arguments of task.{key}, which is not set; name your function there"
    for section in ("baseline", "finetune"):
        table = data.get(section)
        smoothing = table.get("label_smoothing") if isinstance(table, dict) else None
        if isinstance(task.get("loss"), str) and smoothing:
            yield f"{section}.label_smoothing: is a part of cross-entropy, so must be 0 with a task.loss, got {smoothing!r}"
