"""Names in a spec that no file of a room has, and options that the file does not take."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.own import load_own, own_options
from pqsearch.samplers import sampler_problems
from pqsearch.searchers import searcher_problems
from pqsearch.type_problems import fields_of

#: What a section's name may be beside the files of its room.
_MORE = {
    "algorithms": ", optuna:<Sampler> or your own module:Class",
    "datasets": ", torchvision:<name> or your own module:function",
}


def _model_problems(key: str, table: Any) -> Iterator[str]:
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(name, str) or ":" in name:
        return
    problem = rooms.unknown("models", name)
    if problem:
        yield f"{key}.name: {problem}, torchvision:<name>, timm:<name> or your own module:function"
    elif isinstance(options := table.get("options", {}), dict):
        yield from rooms.option_problems("models", name, options, f"{key}.options")


def _torchvision_problems(name: str, options: Mapping[str, Any], section: str, known: Sequence[str]) -> Iterator[str]:
    """Torchvision's sets are listed in a file of the room, which is read like those that have a name there."""
    sets = rooms.constants("datasets", "_torchvision")["SETS"]
    wanted = name.partition(":")[2]
    if wanted not in sets:
        yield f"{section}.name: unknown set {name!r}{rooms.nearest(wanted, list(sets))}, choose from {', '.join(sets)}"
        return
    yield from rooms.problems_with(rooms.signature("datasets", "_torchvision"), name, options, section, known)


def rooms_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """Names and options of room files; works on raw values, so that these come with the type errors.

    `root` is the spec's model, whose sections say which keys are not options.
    """
    named = (
        ("data", "name", "datasets"), ("algorithm", "name", "algorithms"), ("quantizer", "name", "quantizers"),
        ("calibration", "calibrator", "calibrators"), ("pruning", "importance", "importances"),
        ("reconstruction", "calibrator", "calibrators"),
    )  # fmt: skip
    for section, key, room in named:
        fields = fields_of((section,), root)
        table = data.get(section, {})
        name = table.get(key, fields[key].default) if isinstance(table, dict) else None
        if not isinstance(name, str):
            continue
        options = {k: v for k, v in table.items() if k not in fields}
        known = list(fields)
        if room == "algorithms" and name.startswith("optuna:"):
            yield from sampler_problems(name.removeprefix("optuna:"), options, section)
            continue
        if room == "algorithms" and name.startswith("tune:"):
            yield from searcher_problems(name.removeprefix("tune:"), options, section)
            continue
        if room == "datasets" and name.startswith("torchvision:"):
            yield from _torchvision_problems(name, options, section, known)
            continue
        if room in ("algorithms", "datasets") and ":" in name:
            try:
                declared = own_options(load_own(name, table.get("folder"), f"{section}.{key}"))
            except UserError as error:
                yield from error.problems
                continue
            yield from rooms.problems_with(declared, name, options, section, known) if declared is not None else ()
            continue
        problem = rooms.unknown(room, name)
        if problem:
            yield f"{section}.{key}: {problem}" + (_MORE.get(room, ""))
            continue
        for line in rooms.option_problems(room, name, options, section, also=known):
            option = line.partition(":")[0].removeprefix(f"{section}.")
            close = difflib.get_close_matches(option, known, n=1) if "unknown option" in line else []
            yield f"{section}.{option}: unknown key, did you mean {close[0]!r}?" if close else line
    yield from _model_problems("model", data.get("model"))
    finetune = data.get("finetune")
    teacher = finetune.get("teacher") if isinstance(finetune, dict) else None
    yield from _model_problems("finetune.teacher", teacher)
    if isinstance(teacher, dict):
        if teacher.get("weights") is None:
            yield "finetune.teacher.weights: is required, got nothing; name the state dict of the network to learn from"
        if not (finetune.get("distillation") or finetune.get("feature_distillation")):  # type: ignore[union-attr]
            yield "finetune.distillation: must be more than 0 with a teacher, got 0; say how much of the loss is the teacher's"
    if isinstance(finetune, dict):
        if finetune.get("feature_distillation") and not finetune.get("feature_layers"):
            yield "finetune.feature_layers: is required with feature_distillation, got nothing; name convolutions"
        elif finetune.get("feature_layers") and not finetune.get("feature_distillation"):
            yield "finetune.feature_distillation: must be more than 0 with feature_layers, got 0; say what weight they have"
    budgets = data.get("budgets")
    if isinstance(budgets, dict):
        for budget, limit in budgets.items():
            yield from _budget_problems(budget, limit)
            if not rooms.unknown("budgets", budget) and (problem := lacking(budget, data)):
                yield f"budgets.{budget}: {problem}"
    export = data.get("export")
    formats = export.get("formats", []) if isinstance(export, dict) else []
    for index, name in enumerate(formats if isinstance(formats, list) else []):
        if isinstance(name, str) and (problem := rooms.unknown("exporters", name)):
            yield f"export.formats[{index}]: {problem}"


def _budget_problems(name: str, limit: Any) -> Iterator[str]:
    problem = rooms.unknown("budgets", name)
    if problem:
        yield f"budgets.{name}: {problem}"
    elif isinstance(limit, (int, float)) and not isinstance(limit, bool) and math.isfinite(limit):
        known = rooms.constants("budgets", name)
        low, high = known["LOW"], known["HIGH"]
        # Ratios and sizes of nothing at all make no sense; a bit width starts at its smallest value.
        inside = (low < limit if low == 0 else low <= limit) and limit <= high
        if not inside:
            text = f"above {low:g}" if math.isinf(high) else f"in {'(' if low == 0 else '['}{low:g}, {high:g}]"
            yield f"budgets.{name}: must be {text}, got {limit!r}"


def lacking(cost: str, data: Mapping[str, Any]) -> str | None:
    """What a spec must have before it may name a cost, in words; None if it has it, or if the cost needs nothing."""
    needs = rooms.constants("budgets", cost).get("NEEDS")
    if needs is None:
        return None
    section, _, key = needs.partition(".")
    table = data.get(section)
    if isinstance(table, dict) and table.get(key) is not None:
        return None
    return (
        f'needs measurements, got no {needs}; set [{section}] {key} = "{section}.json" and let '
        f"`pqsearch {section} SPEC --out {section}.json` make them"
    )
