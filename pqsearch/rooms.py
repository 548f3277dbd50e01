"""Rooms: folders where a file's name is its registration.

A room's files all define the same entry point. Its keyword-only parameters are the options that a spec may set;
they are read with `ast`, so that checking a spec imports neither torch nor ray.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError


@dataclass(frozen=True)
class Room:
    package: str
    entry: str


ROOMS: Mapping[str, Room] = {
    "algorithms": Room("pqsearch.algorithms", "Algorithm"),
    "budgets": Room("search_spaces.budgets", "terms"),
    "models": Room("trainers.models", "build"),
    "datasets": Room("trainers.datasets", "load"),
    "quantizers": Room("trainers.quantizers", "Quantizer"),
    "calibrators": Room("trainers.calibrators", "calibrate"),
    "importances": Room("trainers.importances", "importance"),
    "exporters": Room("trainers.exporters", "export"),
    "plots": Room("pqsearch.plots", "draw"),
    "clusters": Room("cluster.targets", "render"),
}


class Doc(str):
    """The meaning of an option, in `Annotated[int, Doc("..."), Range(1, 10)]`."""


@dataclass(frozen=True)
class Range:
    """The closed range of a numeric option."""

    low: float
    high: float


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of an entry point, as its source text declares it."""

    name: str
    type: str  # "int", "float", "bool", "str", "list[int]", ...; a trailing "| None" is kept
    default: Any
    required: bool
    doc: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()


def names(room: str) -> tuple[str, ...]:
    """What is in a room: its files, sorted."""
    return tuple(sorted(path.stem for path in _folder(room).glob("*.py") if not path.stem.startswith("_")))


def load(room: str, name: str) -> Any:
    """The entry point of the file `name` in `room`; an unknown name lists the choices."""
    problem = unknown(room, name)
    if problem:
        raise UserError(f"{room}: {problem}")
    module = importlib.import_module(f"{ROOMS[room].package}.{name}")
    found = Path(module.__file__ or "").resolve()
    if found.parent != _folder(room):
        raise UserError(
            f"{room}.{name}: the package at {found.parent} hides pqsearch's own; uninstall it or remove it from PYTHONPATH"
        )
    return getattr(module, ROOMS[room].entry)


def unknown(room: str, name: str) -> str | None:
    """None if the room has the name, else the problem in words."""
    if name in names(room):
        return None
    return f"unknown name {name!r}{nearest(name, names(room))}, choose from {', '.join(names(room))}"


def describe(room: str, name: str) -> str:
    """The first line of a file's docstring."""
    text = ast.get_docstring(ast.parse(_path(room, name).read_text()))
    return (text or "").splitlines()[0] if text else ""


@cache
def signature(room: str, name: str) -> tuple[Option, ...]:
    """The options of a room's file, without importing it."""
    entry = ROOMS[room].entry
    for node in ast.parse(_path(room, name).read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == entry:
            return options_of(node)
    raise LookupError(f"{_path(room, name)} does not define {entry}")


def options_of(node: ast.stmt) -> tuple[Option, ...]:
    """The options of a function, or of a class's `__init__`, from its syntax tree."""
    if isinstance(node, ast.FunctionDef):
        return tuple(_options(node.args))
    for inner in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return tuple(_options(inner.args))
    return ()


def option_problems(
    room: str, name: str, options: Mapping[str, Any], where: str, also: Sequence[str] = ()
) -> Iterator[str]:
    """Check `options` against a file's own signature; yields one line per problem, `where.key: ...`.

    `also` are keys that the section has besides the options; they are among the choices.
    """
    yield from problems_with(signature(room, name), name, options, where, also)


def problems_with(
    declared: Sequence[Option], name: str, options: Mapping[str, Any], where: str, also: Sequence[str] = ()
) -> Iterator[str]:
    """Check `options` against those that `name` declares."""
    known = {option.name: option for option in declared}
    for key, value in options.items():
        if key not in known:
            listed = ", ".join([*also, *known]) or "none: it has no options"
            yield f"{where}.{key}: unknown option of {name!r}{nearest(key, known)}, choose from {listed}"
            continue
        problem = value_problem(known[key], value)
        if problem:
            yield f"{where}.{key}: {problem}, got {value!r}"
    for option in known.values():
        if option.required and option.name not in options:
            yield f"{where}.{option.name}: is required by {name!r} ({option.type}), got nothing"


def value_problem(option: Option, value: Any) -> str | None:
    """What is wrong with a value of an option, in words, or None."""
    kind = option.type.removesuffix(" | None")
    if value is None and kind != option.type:
        return None
    if option.choices:
        return None if value in option.choices else f"must be one of {', '.join(map(str, option.choices))}"
    if kind.startswith("list["):
        inner = kind[5:-1]
        if not isinstance(value, (list, tuple)) or not all(_is(inner, item) for item in value):
            return f"must be a list of {_PLURALS.get(inner, inner)}"
        numbers = list(value)
    else:
        if not _is(kind, value):
            return f"must be {_WORDS.get(kind, kind)}"
        numbers = [value]
    if option.low is not None and option.high is not None and any(not option.low <= n <= option.high for n in numbers):
        return f"must be from {option.low:g} to {option.high:g}"
    return None


_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
_PLURALS = {"int": "whole numbers", "float": "numbers", "bool": "true or false", "str": "texts"}


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind in ("bool", "Any")
    if kind == "bool":
        return False
    known = {"int": int, "float": (int, float), "str": str, "dict": dict}
    return kind not in known or isinstance(value, known[kind])  # type: ignore[arg-type]  # a tuple or a type


def nearest(name: str, choices: Iterable[str], most: int = 1) -> str:
    """`, did you mean 'x'?` (or up to `most` of them) where something known is close, else nothing."""
    close = difflib.get_close_matches(name, list(choices), n=most)
    return f", did you mean {' or '.join(map(repr, close))}?" if close else ""


def _folder(room: str) -> Path:
    root = Path(__file__).resolve().parent.parent
    return root.joinpath(*ROOMS[room].package.split("."))


def _path(room: str, name: str) -> Path:
    return _folder(room) / f"{name}.py"


def _options(arguments: ast.arguments) -> Iterator[Option]:
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        annotation, doc, low, high, choices = argument.annotation, "", None, None, ()
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
            assert isinstance(annotation.slice, ast.Tuple)
            annotation, *extras = annotation.slice.elts
            for extra in extras:
                assert isinstance(extra, ast.Call)
                values = [ast.literal_eval(value) for value in extra.args]
                if ast.unparse(extra.func) == "Doc":
                    doc = values[0]
                else:
                    low, high = values
        text = ast.unparse(annotation) if annotation else "Any"
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
            choices = tuple(
                ast.literal_eval(item)
                for item in (annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice])
            )
        yield Option(
            name=argument.arg,
            type=text,
            default=None if default is None else ast.literal_eval(default),
            required=default is None,
            doc=doc,
            low=low,
            high=high,
            choices=choices,
        )


@cache
def constants(room: str, name: str) -> Mapping[str, Any]:
    """The literal module constants of a room's file (`UNIT = "ratio"`), without importing it."""
    found: dict[str, Any] = {}
    for node in ast.parse(_path(room, name).read_text()).body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target = node.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        values = value if isinstance(target, ast.Tuple) else [value]
        found.update({ast.unparse(name): item for name, item in zip(names, values, strict=True)})
    return found
