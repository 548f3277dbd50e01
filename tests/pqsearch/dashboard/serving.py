"""The command as a process of its own, on a free port, ended by its id."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Serving:
    """A server that answers at `url`."""

    process: subprocess.Popen[str]
    url: str
    said: str

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


@contextmanager
def serving(run_dir: Path, *more: str, port: int = 0) -> Iterator[Serving]:
    command = [sys.executable, "-m", "pqsearch", "dashboard", str(run_dir), "--port", str(port), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            said = ""
            while (found := re.search(r"http://\S+/", said)) is None:
                line = process.stdout.readline()
                assert line, f"it ended with {process.wait()} after saying {said!r}"
                said += line
            yield Serving(process, found[0], said)
        finally:
            process.kill()
