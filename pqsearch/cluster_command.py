"""`pqsearch cluster TARGET SPEC`: what a target of the room `clusters` renders, printed. Its options are the room file's."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from pqsearch import rooms
from pqsearch.arguments import with_spec
from pqsearch.errors import UserError

ROOM = "clusters"
#: An example of each; a file that is not here gets one without options.
EXAMPLES = {
    "autoscaler": "pqsearch cluster autoscaler examples/digits.toml --provider local --head 10.0.0.1 --workers 10.0.0.2",
}


def add(command: argparse.ArgumentParser) -> None:
    """Make a subcommand of every file in the room."""
    targets = command.add_subparsers(metavar="TARGET", required=True)
    for name in rooms.names(ROOM):
        meaning = rooms.describe(ROOM, name)
        example = EXAMPLES.get(name, f"pqsearch cluster {name} examples/digits.toml")
        target = targets.add_parser(name, help=meaning, description=meaning, epilog=f"example: {example}")
        with_spec(target)
        for option in rooms.signature(ROOM, name):
            _add_option(target, option)
        target.set_defaults(command=run, target=name)


def run(options: argparse.Namespace) -> int:
    """Print the rendered text and nothing else."""
    from cluster.order import Order
    from pqsearch.spec import load_spec

    given = dict(_given(options))
    spec = load_spec(options.spec, options.set)
    order = Order(
        spec=spec,
        source=_below_here(options.spec),
        here=os.getcwd(),  # noqa: PTH109  as the shell has it, like `Path.absolute`
        ray=metadata.version("ray"),
        overrides=tuple(options.set),
    )
    print(rooms.load(ROOM, options.target)(order, **given).text, end="")
    return 0


def _add_option(target: argparse.ArgumentParser, option: rooms.Option) -> None:
    flag = _flag(option)
    default = "" if option.required or option.default in (None, False) else f" ({option.default})"
    meaning = f"{option.doc.rstrip('.')}{default}"
    if option.type == "bool":
        target.add_argument(flag, action="store_true", help=meaning)
        return
    # Values are read and judged in one place below, so that a wrong one is said as everywhere else.
    more: dict[str, Any] = {"action": "append"} if option.type.startswith("list[") else {}
    metavar = "|".join(option.choices) if option.choices else option.name.split("_")[-1].upper()
    target.add_argument(flag, help=meaning, metavar=metavar, **more)


def _given(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The options that were given, as values of their types. Raises `UserError` with all problems."""
    problems = []
    for option in rooms.signature(ROOM, options.target):
        text = getattr(options, option.name)
        if text is None:
            if option.required:
                choices = f", choose from {', '.join(option.choices)}" if option.choices else ""
                problems.append(f"{_flag(option)}: is required ({option.doc.rstrip('.')}), got nothing{choices}")
            continue
        value = _value(option, text)
        if problem := rooms.value_problem(option, value):
            problems.append(f"{_flag(option)}: {problem}, got {text!r}")
        yield option.name, value
    if problems:
        raise UserError(problems)


def _value(option: rooms.Option, text: Any) -> Any:
    kind = option.type.removesuffix(" | None")
    try:
        return {"int": int, "float": float}[kind](text)
    except (KeyError, ValueError):
        return text


def _flag(option: rooms.Option) -> str:
    return f"--{option.name.replace('_', '-')}"


def _below_here(path: str) -> str:
    absolute, here = Path(os.path.normpath(Path(path).absolute())), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
