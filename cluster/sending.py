"""`python -m cluster.sending RUN_DIR RUNS AFTER OFFSET`: part of a run directory, printed; what `fetch` reads from a job's log.

A job's log is the one thing that reaches a client by Ray's job server alone. Lines that begin with `MARK` hold JSON; files come in
the order of their names, so that the next part can begin where this one ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pqsearch.environment import RUNS_VARIABLE
from pqsearch.hidden import hide_passwords
from pqsearch.run_dir import HALF_WRITTEN, RunDirectory

MARK = "pqsearch-file: "
#: What one job sends: its log is a third longer, and is held in memory by Ray more than once.
PART_BYTES = 24 * 2**20
LINE_BYTES = 192 * 2**10


def files(run: RunDirectory) -> list[str]:
    """What is sent, by name."""
    found = (path for path in run.path.rglob("*") if path.is_file() and not path.is_symlink())
    names = (path.relative_to(run.path) for path in found)
    return sorted(name.as_posix() for name in names if not _left(name))


def records(run: RunDirectory, after: str, offset: int, part: int = PART_BYTES) -> Iterator[dict[str, Any]]:
    """Pieces of files from `offset` in `after` on, then where the next part begins, or the end."""
    for name in files(run):
        if name < after:
            continue
        begin = offset if name == after else 0
        try:
            data = _content(run, name)
        except FileNotFoundError:
            continue  # a run that goes on may have removed it
        about = {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        while True:
            piece = data[begin : begin + min(LINE_BYTES, part)]
            yield {**about, "offset": begin, "data": base64.b64encode(piece).decode()}
            begin, part = begin + len(piece), part - len(piece)
            if begin >= len(data):
                break
            if part <= 0:
                yield {"next": [name, begin]}
                return
    yield {"end": True}


def _content(run: RunDirectory, name: str) -> bytes:
    data = (run.path / name).read_bytes()
    # What is printed may be read by everyone who may see the cluster.
    return hide_passwords(data.decode()).encode() if name == run.spec.name else data


def _left(name: Path) -> bool:
    """No results: what candidates in flight have written, Tune's own files, TensorBoard's, which are made from the journal, locks,
    and where full fine-tunes would go on.
    """
    return (
        name.parts[0] in ("scratch", "tensorboard")
        or name.parts[:2] == ("logs", "ray_tune")
        or name.suffix == ".lock"
        or name.name.startswith(".store")
        or name.name == "checkpoint.pth"
        or fnmatch(name.name, HALF_WRITTEN)
    )


def main(arguments: Sequence[str]) -> int:
    path, runs, after, offset = arguments
    if runs:
        os.environ[RUNS_VARIABLE] = runs
    else:
        os.environ.setdefault(RUNS_VARIABLE, "~/pqsearch")  # where a job without a folder of its own has put it
    run = RunDirectory.named(path)
    if run.store is not None:
        run.store.pull(lambda name: not _left(Path(name)))
    if not run.spec.is_file():
        print(MARK + json.dumps({"missing": run.where}))
        return 0
    for record in records(run, after, int(offset)):
        print(MARK + json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
