"""Processes of this machine that train together, without Ray: a real process group over loopback."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: How long an answer may take on a busy machine.
ANSWER_SECONDS = 300.0


class Gang:
    """So many processes in one group, in which functions of modules are called."""

    def __init__(self, ends: list[Connection]) -> None:
        self._ends = ends

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function gives in each process, by rank. They call it at the same time."""
        for end in self._ends:
            end.send((function, arguments))
        answers = []
        for end in self._ends:
            assert end.poll(ANSWER_SECONDS), "a process does not answer"
            answers.append(end.recv())
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


@contextmanager
def gang(size: int, folder: Path) -> Iterator[Gang]:
    """Begin `size` processes; `folder` holds the file by which they find each other."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(size)]
    processes = [
        spawn.Process(target=_member, args=(rank, size, str(folder / "meeting"), theirs))
        for rank, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        yield Gang([mine for mine, _ in pipes])
    finally:
        for process in processes:
            process.kill()
            process.join()


def _member(rank: int, size: int, meeting: str, end: Connection) -> None:
    import torch

    from pqsearch.meeting import _join

    torch.set_num_threads(1)
    _join("gloo", meeting, rank, size)
    while True:
        function, arguments = end.recv()
        try:
            end.send(function(*arguments))
        except Exception as error:
            end.send(error)
