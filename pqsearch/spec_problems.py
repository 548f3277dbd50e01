"""What is wrong with a spec, in words: one line per problem with the field, the value and what would be right."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pqsearch import rooms


def validation_problems(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    for entry in error.errors(include_url=False):
        loc, kind, got = entry["loc"], entry["type"], entry["input"]
        where = _where(loc)
        if kind == "extra_forbidden":
            known = list(_fields(loc[:-1], root))
            close = difflib.get_close_matches(str(loc[-1]), known, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            yield f"{where}: unknown key{hint}, choose from {', '.join(known)}"
        elif kind == "missing":
            field = _field(loc, root)
            meaning = f" ({field.description})" if field and field.description else ""
            yield f"{where}: is required{meaning}, got nothing"
        elif kind == "string_pattern_mismatch":
            yield f"{where}: may hold letters, digits, '.', '_' and '-' and starts with a letter or digit, got {got!r}"
        else:
            yield f"{where}: {_requirement(kind, entry, _field(loc, root))}, got {got!r}"


def _requirement(kind: str, entry: Any, field: FieldInfo | None) -> str:
    context = entry.get("ctx", {})
    if kind.startswith(("greater_than", "less_than")):
        return f"must be {value_range(field)}" if field else entry["msg"]
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "too_short":
        return "must not be empty"
    if kind == "finite_number":
        return "must be a finite number"
    words = {
        "int": "a whole number", "float": "a number", "string": "a text", "bool": "true or false",
        "list": "a list", "dict": "a table", "model": "a table (a [section])",
    }  # fmt: skip
    return f"must be {words.get(kind.split('_')[0], kind)}"


def value_range(field: FieldInfo) -> str:
    """The legal range of a numeric field: `in (0, 1]`, `at least 1`; empty without one."""
    bounds: dict[str, float] = {}
    for item in field.metadata:
        bounds.update({key: getattr(item, key) for key in ("gt", "ge", "lt", "le") if hasattr(item, key)})
    if not bounds:
        return ""
    low, high = bounds.get("gt", bounds.get("ge")), bounds.get("lt", bounds.get("le"))
    if low is None:
        return f"{'below' if 'lt' in bounds else 'at most'} {high:g}"
    if high is None:
        return f"{'above' if 'gt' in bounds else 'at least'} {low:g}"
    return f"in {'(' if 'gt' in bounds else '['}{low:g}, {high:g}{')' if 'lt' in bounds else ']'}"


def _where(loc: tuple[str | int, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model(part))), None)


def _fields(loc: tuple[str | int, ...], root: type[BaseModel]) -> Mapping[str, FieldInfo]:
    model: type[BaseModel] | None = root
    for part in loc:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model(field.annotation) if field else None
    return model.model_fields if model else {}


def _field(loc: tuple[str | int, ...], root: type[BaseModel]) -> FieldInfo | None:
    names = [part for part in loc if isinstance(part, str)]
    return _fields(tuple(names[:-1]), root).get(names[-1]) if names else None


def rooms_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """Names and options of room files; works on raw values, so that these come with the type errors.

    `root` is the spec's model, whose sections say which keys are not options.
    """
    named = (
        ("data", "name", "datasets"), ("algorithm", "name", "algorithms"), ("quantizer", "name", "quantizers"),
        ("pruning", "importance", "importances"),
    )  # fmt: skip
    for section, key, room in named:
        fields = _fields((section,), root)
        table = data.get(section, {})
        name = table.get(key, fields[key].default) if isinstance(table, dict) else None
        if not isinstance(name, str):
            continue
        problem = rooms.unknown(room, name)
        if problem:
            yield f"{section}.{key}: {problem}"
            continue
        options = {k: v for k, v in table.items() if k not in fields}
        known = list(fields)
        for line in rooms.option_problems(room, name, options, section):
            option = line.partition(":")[0].removeprefix(f"{section}.")
            close = difflib.get_close_matches(option, known, n=1) if "unknown option" in line else []
            yield f"{section}.{option}: unknown key, did you mean {close[0]!r}?" if close else line
    model_table = data.get("model")
    if isinstance(model_table, dict) and isinstance(name := model_table.get("name"), str) and ":" not in name:
        problem = rooms.unknown("models", name)
        if problem:
            yield f"model.name: {problem}, torchvision:<name> or your own module:function"
        elif isinstance(options := model_table.get("options", {}), dict):
            yield from rooms.option_problems("models", name, options, "model.options")
    budgets = data.get("budgets")
    if isinstance(budgets, dict):
        for budget, limit in budgets.items():
            yield from _budget_problems(budget, limit)
    export = data.get("export")
    formats = export.get("formats", []) if isinstance(export, dict) else []
    for index, name in enumerate(formats if isinstance(formats, list) else []):
        if isinstance(name, str) and (problem := rooms.unknown("exporters", name)):
            yield f"export.formats[{index}]: {problem}"


def _budget_problems(name: str, limit: Any) -> Iterator[str]:
    problem = rooms.unknown("budgets", name)
    if problem:
        yield f"budgets.{name}: {problem}"
    elif isinstance(limit, (int, float)) and not isinstance(limit, bool):
        known = rooms.constants("budgets", name)
        low, high = known["LOW"], known["HIGH"]
        # Ratios and sizes of nothing at all make no sense; a bit width starts at its smallest value.
        inside = (low < limit if low == 0 else low <= limit) and limit <= high and math.isfinite(limit)
        if not inside:
            text = f"above {low:g}" if math.isinf(high) else f"in {'(' if low == 0 else '['}{low:g}, {high:g}]"
            yield f"budgets.{name}: must be {text}, got {limit!r}"
