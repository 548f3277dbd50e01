"""Arguments that several commands take, and what makes a command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

#: Makes a subcommand of a name, what it does, an example, and the function that runs it.
Add = Callable[[str, str, str, Any], argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, as everything else is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def with_spec(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The command, which takes a spec and overrides of its keys."""
    command.add_argument("spec", metavar="SPEC", help="the spec, a TOML file")
    return with_overrides(command)


def with_overrides(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The command, which takes overrides of a spec's keys."""
    command.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the spec; may be repeated",
    )
    return command
