"""Keys of a spec that are missing, unknown, or of a wrong type or range, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pqsearch import rooms
from pqsearch.hidden import hide_passwords


def validation_problems(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """What pydantic found, in our words."""
    for entry in error.errors(include_url=False):
        loc, kind, got = entry["loc"], entry["type"], entry["input"]
        where = _where(loc)
        if kind == "extra_forbidden":
            known = list(fields_of(loc[:-1], root))
            yield f"{where}: unknown key{rooms.nearest(str(loc[-1]), known)}, choose from {', '.join(known)}"
        elif kind == "missing":
            field = _field(loc, root)
            meaning = f" ({field.description})" if field and field.description else ""
            yield f"{where}: is required{meaning}, got nothing"
        elif kind == "string_pattern_mismatch":
            yield f"{where}: may hold letters, digits, '.', '_' and '-' and starts with a letter or digit, got {got!r}"
        else:
            # `[space.pin.layer1.0.conv1]` is four tables in TOML, not a layer's name.
            hint = (
                '; quote names with dots, as in [space.pin."layer1.0.conv1"]'
                if where.count(".") > 2 and isinstance(got, dict)
                else ""
            )
            yield f"{where}: {_requirement(kind, entry, _field(loc, root))}, got {hide_passwords(repr(got))}{hint}"


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
        "list": "a list", "dict": "a table", "model": "a table (a [section])", "output": "a name, or an index from 0",
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
        return f"{'below' if 'lt' in bounds else 'at most'} {high:.10g}"
    if high is None:
        return f"{'above' if 'gt' in bounds else 'at least'} {low:.10g}"
    return f"in {'(' if 'gt' in bounds else '['}{low:.10g}, {high:.10g}{')' if 'lt' in bounds else ']'}"


def _where(loc: tuple[str | int, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model(part))), None)


def fields_of(loc: tuple[str | int, ...], root: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The keys of the section at `loc` of a spec, empty where there is none."""
    model: type[BaseModel] | None = root
    for part in loc:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model(field.annotation) if field else None
    return model.model_fields if model else {}


def _field(loc: tuple[str | int, ...], root: type[BaseModel]) -> FieldInfo | None:
    names = [part for part in loc if isinstance(part, str)]
    return fields_of(tuple(names[:-1]), root).get(names[-1]) if names else None


def is_number(value: Any) -> bool:
    """A finite number: what is none is a type error, and said as that."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
