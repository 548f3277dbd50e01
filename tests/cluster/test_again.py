"""Starting a failed command again, and leaving alone what another start would not change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.again import main

#: In place of pqsearch: notes that it was begun, then ends with the first code that is left over.
PROGRAM = """
import os, pathlib, signal, sys, time
folder = pathlib.Path({folder!r})
codes = (folder / "codes").read_text().split()
(folder / "codes").write_text(" ".join(codes[1:]))
with (folder / "begun").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if codes[0] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if codes[0] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    (folder / "waits").touch()
    time.sleep(60)
sys.exit(int(codes[0]))
"""


def _begun(folder: Path) -> list[str]:
    return (folder / "begun").read_text().splitlines()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "pqsearch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def handlers() -> object:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("codes", "retries", "code", "times"),
    [
        ("0", 3, 0, 1),
        ("2", 3, 2, 1),
        ("130", 3, 130, 1),
        ("1 0", 3, 0, 2),
        ("kill kill 0", 3, 0, 3),
        ("1 1 1", 2, 1, 3),
        ("kill", 0, 137, 1),
    ],
)
def test_it_is_started_again_while_that_may_help(codes: str, retries: int, code: int, times: int, folder: Path) -> None:
    (folder / "codes").write_text(codes)
    assert main([str(retries), "run", "a b.toml"], pause=0.0) == code
    assert _begun(folder) == ["run a b.toml"] * times


def test_what_is_stopped_is_not_started_again(folder: Path) -> None:
    (folder / "codes").write_text("wait 0")
    root = Path(__file__).resolve().parent.parent.parent
    process = subprocess.Popen([sys.executable, str(root / "cluster" / "again.py"), "5", "run"], start_new_session=True)
    try:
        while not (folder / "waits").exists():
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.wait()
    assert _begun(folder) == ["run"]
