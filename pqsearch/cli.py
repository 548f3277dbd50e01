"""The command line. Exit codes: 0 done, 2 the user's mistake, 1 ours, 130 interrupted."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pqsearch import (
    __version__,
    cluster_command,
    dashboard_command,
    environment,
    job_commands,
    runs_command,
    spec_commands,
    study_commands,
)
from pqsearch.arguments import Parser
from pqsearch.errors import SearchAborted, UserError, writing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    environment.set_defaults()
    options = parser().parse_args(arguments)
    _interrupt_on_sigterm()
    try:
        # Commands are imported when chosen: `pqsearch list` needs no torch.
        with _told():
            return options.command(options)
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except SearchAborted as error:
        print(f"pqsearch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing finished is lost; the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


class _Told(logging.Handler):
    """What takes long says so on standard error, wherever that leads at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


@contextmanager
def _told() -> Iterator[None]:
    logger, handler = logging.getLogger("trainers"), _Told()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def parser() -> argparse.ArgumentParser:
    """The whole command line; its help is part of the documentation."""
    top = Parser(
        prog="pqsearch",
        description="Finds, per layer of a trained CNN, how much to prune and how many bits to keep, under your budgets.",
        epilog="example: pqsearch run examples/digits.toml",
    )
    top.add_argument("--version", action="version", version=f"pqsearch {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, meaning: str, example: str, function: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=meaning, description=meaning[0].upper() + meaning[1:] + ".", epilog=f"example: {example}"
        )
        command.set_defaults(command=function)
        return command

    spec_commands.add(add)
    study_commands.add(add)
    cluster = add(
        "cluster",
        "print the file that takes a search to a cluster, or a board of its metrics",
        "pqsearch cluster kuberay examples/digits.toml",
        None,
    )
    cluster_command.add(cluster)
    rooms = add("list", "list what can be named in a spec", "pqsearch list algorithms", _list)
    rooms.add_argument(
        "room",
        nargs="?",
        help="algorithms, models, datasets, budgets, quantizers, calibrators, importances, exporters, clusters",
    )
    init = add("init", "write a commented spec to start from", "pqsearch init my.toml", _init)
    init.add_argument("path", nargs="?", default="spec.toml", help="the file to write (spec.toml)")
    dashboard_command.add(add)
    runs_command.add(add)
    job_commands.add_commands(add)
    return top


def _list(options: argparse.Namespace) -> int:
    from pqsearch.rooms import ROOMS
    from pqsearch.tables import rooms_table

    if options.room is not None and options.room not in ROOMS:
        raise UserError(f"list: unknown room {options.room!r}, choose from {', '.join(ROOMS)}")
    print(rooms_table(options.room))
    return 0


def _init(options: argparse.Namespace) -> int:
    from pqsearch.spec_docs import commented_spec

    path = Path(options.path)
    with writing(path):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(commented_spec())
        except FileExistsError:
            raise UserError(f"{path}: exists already; name another file") from None
    print(f"{path}: edit it, then `pqsearch check {path}` and `pqsearch run {path}`")
    return 0


def _interrupt_on_sigterm() -> None:
    """Stopping a job sends SIGTERM; it ends as Ctrl-C does, with the journal closed."""

    def interrupt(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return  # not the main thread: whoever embeds us owns the signals
