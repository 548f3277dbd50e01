"""The spec's documentation and the commented spec of `pqsearch init`, both made from `pqsearch/spec.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pqsearch import rooms
from pqsearch.run_dir import write_atomically
from pqsearch.spec import Spec
from pqsearch.spec_search import RungSpec
from pqsearch.tables import option_words, toml_value
from pqsearch.type_problems import value_range

ROOM_OF_SECTION = {
    "data": "datasets", "model": "models", "budgets": "budgets", "algorithm": "algorithms", "quantizer": "quantizers",
    "calibration": "calibrators", "pruning": "importances", "reconstruction": "calibrators", "export": "exporters",
}  # fmt: skip
INTRODUCTION = """# The spec

One TOML file describes a run. Every key can be overridden on the command line as `--set section.key=value`; values are
TOML, bare words are texts. Unknown keys are refused, and all mistakes are listed at once.

This page is made from `pqsearch/spec.py` by `make docs`.
"""
#: What `pqsearch init` sets; everything else stands in it as a comment with its default.
INITIAL: dict[str, dict[str, Any]] = {
    "study": {"name": "my-study", "evaluations": 60},
    "data": {"name": "digits", "score_images": 300, "select_images": 150},
    "model": {"name": "digits_net"},
    "budgets": {"flops": 0.5, "weight_bits": 4, "act_bits": 4},
}


def spec_markdown() -> str:
    """The whole of `docs/spec.md`."""
    lines = [INTRODUCTION]
    for name, field in Spec.model_fields.items():
        if name == "budgets":
            lines += _budgets(field)
            continue
        section = RungSpec if name == "rungs" else _section(field)
        lines += [f"## `{'[[rungs]]' if name == 'rungs' else f'[{name}]'}`", "", _summary(section), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [_row(key, inner) for key, inner in section.model_fields.items()]
        lines.append("")
        if name in ROOM_OF_SECTION:
            lines += _room(ROOM_OF_SECTION[name])
    return "\n".join(lines).rstrip() + "\n"


def _budgets(field: FieldInfo) -> list[str]:
    lines = ["## `[budgets]`", "", field.description or "", "", "| key | unit | range | meaning |", "|---|---|---|---|"]
    for name in rooms.names("budgets"):
        known = rooms.constants("budgets", name)
        lines.append(
            f"| `{name}` | {known['UNIT']} | {known['LOW']:g} to {known['HIGH']:g} | {rooms.describe('budgets', name)} |"
        )
    return [*lines, ""]


def _room(room: str) -> list[str]:
    lines = [f"Files in the room `{room}` and their options:", ""]
    for name in rooms.names(room):
        lines.append(f"- `{name}`: {rooms.describe(room, name)}")
        for option in rooms.signature(room, name):
            key, _, rest = option_words(option).partition(" ")
            lines.append(f"  - `{key}` {rest}")
    return [*lines, ""]


def _row(key: str, field: FieldInfo) -> str:
    span = value_range(field)
    kind = _type_words(field.annotation) + (f", {span}" if span else "")
    default = "required" if field.is_required() else _default(field)
    return f"| `{key}` | {kind} | {default} | {field.description or ''} |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "" if value is None or value is PydanticUndefined else f"`{toml_value(value)}`"


def _type_words(kind: Any) -> str:
    origin, arguments = get_origin(kind), [part for part in get_args(kind) if part is not type(None)]
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type_words(arguments[0])}"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "table"
    if arguments:
        return " or ".join(map(_type_words, arguments))
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}.get(
        kind.__name__, kind.__name__
    )


def _section(field: FieldInfo) -> type[BaseModel]:
    kinds = (field.annotation, *get_args(field.annotation))  # a section that may be left out is a union with None
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def _summary(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split())


def commented_spec() -> str:
    """A valid spec that says of every key what it means; keys that keep their defaults are comments."""
    lines = [
        "# A pqsearch spec. `pqsearch check` validates it, `pqsearch run` runs it; docs/spec.md has every option.",
        "",
    ]
    for name, field in Spec.model_fields.items():
        if name == "budgets":
            lines += ["[budgets]", *_commented_budgets(), ""]
        elif name == "rungs":
            for rung in field.get_default(call_default_factory=True):
                lines += [
                    "[[rungs]]",
                    *_keys(RungSpec, {"kind": rung.kind, "steps": rung.steps} if rung.steps else {"kind": rung.kind}),
                    "",
                ]
        else:
            section = _section(field)
            keys = list(_keys(section, INITIAL.get(name, {})))
            if field.default is None:
                # A section that is not there unless asked for: its keys belong to no other one.
                lines += [f"# {_summary(section)}", f"## [{name}]", *(f"#{key}" for key in keys), ""]
            else:
                lines += [f"# {_summary(section)}", f"[{name}]", *keys, ""]
    return "\n".join(lines).rstrip() + "\n"


def _commented_budgets() -> Iterator[str]:
    for name in rooms.names("budgets"):
        value = INITIAL["budgets"].get(name)
        text = f"{name} = {value}" if value is not None else f"# {name} ="
        yield f"{text}  # {rooms.describe('budgets', name)}"


def _keys(section: type[BaseModel], given: dict[str, Any]) -> Iterator[str]:
    for key, field in section.model_fields.items():
        meaning = field.description or ""
        if key in given:
            yield f"{key} = {toml_value(given[key])}  # {meaning}"
            continue
        value = field.get_default(call_default_factory=True)
        shown = "" if value is None or value is PydanticUndefined else "{}" if value == {} else toml_value(value)
        yield f"# {key} = {shown}  # {meaning}"


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]), spec_markdown())
