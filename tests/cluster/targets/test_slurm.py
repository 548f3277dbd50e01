from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from cluster.targets import slurm
from tests.cluster.cases import CASES, order_of
from tests.cluster.checks import script_problems
from tests.cluster.targets.standins import install

RENDERED = [name for name, case in CASES.items() if case.target == "slurm"]
PATIENCE = 60.0


def _start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    script = folder / "job.sh"
    script.write_text(slurm.render(order_of(workers__count=16), retries=2).text)
    return subprocess.Popen(
        ["bash", str(script)], env={**install(folder), **environment}, cwd=folder, stderr=subprocess.PIPE, text=True
    )


def _run(folder: Path, **environment: str) -> tuple[int, str]:
    script = _start(folder, **environment)
    _, said = script.communicate(timeout=PATIENCE)
    return script.returncode, said


def _signalled(folder: Path, number: signal.Signals) -> int:
    script = _start(folder)
    end = time.monotonic() + PATIENCE
    while not (folder / "searching").exists() and time.monotonic() < end:
        time.sleep(0.05)
    script.send_signal(number)
    script.communicate(timeout=PATIENCE)
    return script.returncode


def _calls(folder: Path, word: str) -> list[str]:
    return [line for line in (folder / "calls").read_text().splitlines() if line.startswith(word)]


def _still_running(folder: Path) -> list[str]:
    return [number for number in (folder / "nodes").read_text().split() if Path("/proc", number).exists()]


@pytest.mark.parametrize("name", RENDERED)
def test_bash_accepts_the_script(name: str) -> None:
    assert script_problems(CASES[name].rendered().text) == []


def test_a_misspelt_word_of_the_shell_is_refused() -> None:
    text = CASES["slurm"].rendered().text
    assert script_problems(text.replace("    done\n", "    dome\n"))


def test_names_reach_the_shell_as_they_are() -> None:
    order = order_of(
        source="a b$(touch evil)`touch evil`'\";.toml", overrides=("model.options={width=4}", "study.seed=$x")
    )
    (line,) = (line for line in slurm.render(order).text.splitlines() if line.startswith("command="))
    done = subprocess.run(
        ["bash", "-c", line + "\nprintf '%s\\0' \"${command[@]}\""], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\0")[:-1] == order.command


def test_what_is_asked_of_slurm_comes_before_the_first_command() -> None:
    lines = slurm.render(order_of(workers__gpus=1), partition="gpu", gpu_type="a100", time="1:00:00").text.splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    asked = [line for line in lines[:first] if line.startswith("#SBATCH ")]
    assert {"#SBATCH --partition=gpu", "#SBATCH --gpus-per-node=a100:1", "#SBATCH --time=1:00:00"} <= set(asked)
    assert not any(line.startswith("#SBATCH") for line in lines[first:])


def test_a_head_and_a_worker_are_started_searched_on_and_ended(tmp_path: Path) -> None:
    code, said = _run(tmp_path, SEARCH_ENDS_WITH="0")
    assert (code, said) == (0, "")
    head, worker, *removals = _calls(tmp_path, "srun")
    assert head.startswith("srun node-a ray start --block ") and " --head " in head
    address, mode, length = (tmp_path / "address").read_text().split()
    assert worker.startswith("srun node-b ray start --block ") and worker.endswith(f" --address={address}")
    assert (address.split(":")[0], mode, length) == ("127.0.0.1", "token", "64")
    assert (tmp_path / "search").read_text().split() == ["run", "specs/small.toml"]
    assert [line.split()[1:4] for line in removals] == [["node-a", "rm", "-rf"], ["node-b", "rm", "-rf"]]
    assert _still_running(tmp_path) == []
    assert _calls(tmp_path, "scontrol") == []


def test_a_search_that_failed_is_queued_again(tmp_path: Path) -> None:
    assert _run(tmp_path, SEARCH_ENDS_WITH="1", SLURM_RESTART_COUNT="1")[0] == 1
    assert len(_calls(tmp_path, "scontrol requeue")) == 1


@pytest.mark.parametrize(("status", "restarts"), [("2", "0"), ("1", "2")])
def test_a_mistake_or_one_failure_too_many_is_not_queued_again(tmp_path: Path, status: str, restarts: str) -> None:
    assert _run(tmp_path, SEARCH_ENDS_WITH=status, SLURM_RESTART_COUNT=restarts)[0] == int(status)
    assert _calls(tmp_path, "scontrol") == []


def test_at_the_time_limit_the_search_is_told_and_queued_again(tmp_path: Path) -> None:
    assert _signalled(tmp_path, signal.SIGUSR1) == 130
    assert len(_calls(tmp_path, "scontrol requeue")) == 1
    assert _still_running(tmp_path) == []


def test_who_asks_for_the_end_gets_it(tmp_path: Path) -> None:
    assert _signalled(tmp_path, signal.SIGTERM) == 130
    assert _calls(tmp_path, "scontrol") == []
    assert _still_running(tmp_path) == []


def test_a_head_that_does_not_start_is_said(tmp_path: Path) -> None:
    code, said = _run(tmp_path, RAY_FAILS="yes")
    assert code == 1
    assert "the head of the Ray cluster did not start on node-a, port 2" in said
    assert "Ray's logs are left in /tmp/pqsearch-" in said
    assert not (tmp_path / "search").exists()
