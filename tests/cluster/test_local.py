"""Joining Ray: what is told where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from tests.conftest import small_spec


def _search(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "spec.toml").write_text(tomli_w.dumps(small_spec(study__run_dir=str(folder / "run"))))
    mine = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-m", "pqsearch", "search", "spec.toml"],
        cwd=folder, env={**mine, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:9", "refused"),
        pytest.param("ray://127.0.0.1:9", "refused", marks=pytest.mark.release),
        pytest.param("nonsense", "nonsense", marks=pytest.mark.release),
    ],
)
def test_an_address_without_a_ray_is_told_in_one_line_at_once(tmp_path: Path, address: str, reason: str) -> None:
    done = _search(tmp_path, RAY_ADDRESS=address)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"RAY_ADDRESS: Ray cannot be joined at {address!r} (") and reason in line
    assert "unset it" in line


@pytest.mark.release
def test_a_ray_that_does_not_start_is_told_in_one_line_and_the_same_command_continues(tmp_path: Path) -> None:
    done = _search(tmp_path, RAY_TMPDIR="/proc/none")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("pqsearch: Ray did not start on this machine (") and "Traceback" not in done.stderr
    assert line.endswith("nothing finished is lost; the same command continues")
    assert _search(tmp_path).returncode == 0
