"""When evaluations began and ended, noted by the processes that made them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

#: When each evaluation began and ended, in seconds since 1970.
Times = list[tuple[float, float]]


def sleep(folder: str, seconds: float) -> None:
    """An evaluation that takes time and nothing else, and is noted in a file of this process."""
    began = time.time()
    time.sleep(seconds)
    with (Path(folder) / f"times-{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps([began, time.time()]) + "\n")


def read(folder: str) -> Times:
    """Everything that was noted in a folder, in the order of its beginnings."""
    files = Path(folder).glob("times-*.jsonl")
    return sorted(tuple(json.loads(line)) for path in files for line in path.read_text().splitlines())
