"""An evaluation that hangs ends its process, also where a library holds the interpreter; others are left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pqsearch.plan import Item, Plan
from pqsearch.tune.time_limits import HUNG, TimeLimits

HANGS = """
import ctypes, sys, time
from pathlib import Path
from pqsearch.plan import Item, Plan
from pqsearch.tune import time_limits

time_limits.GRACE_SECONDS = 0.5
limits = time_limits.TimeLimits([0.2], Path(sys.argv[1]))
with limits.watch(Item(3, "candidate", Plan(), 0), lambda item, seconds: print(item.id, seconds, flush=True)):
    {how}
print("never reached")
"""


def _run(tmp_path: Path, how: str) -> tuple[int, str, str]:
    log = tmp_path / "hung.log"
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(how=how), str(log)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, log.read_text()


def test_a_hung_evaluation_says_whose_fault_it_was_and_ends_its_process(tmp_path: Path) -> None:
    assert _run(tmp_path, "time.sleep(60)")[:2] == (HUNG, "3 0.2\n")


def test_one_that_holds_the_interpreter_ends_too_and_what_it_did_is_written_down(tmp_path: Path) -> None:
    code, said, log = _run(tmp_path, "ctypes.PyDLL(None).sleep(60)")
    assert code == 1
    assert said == ""
    assert "Timeout" in log


def test_an_evaluation_in_time_is_left_alone(tmp_path: Path) -> None:
    limits, told = TimeLimits([30.0, None], tmp_path / "log"), []
    for rung in (0, 1):
        with limits.watch(Item(0, "candidate", Plan(), rung), lambda item, seconds: told.append(item)):
            pass
    assert told == []
