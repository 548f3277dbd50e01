"""Runs submitted to a real Ray head with its job server, behind a token: attach, stop, go on, fail, fetch."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pqsearch.study import read_study
from tests.chaos.ledger import started
from tests.conftest import small_spec
from tests.long.ray_head import ROOT, RayHead
from tests.waiting import until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    with RayHead(tmp_path_factory.mktemp("head")) as found:
        yield found


def _write(folder: Path, name: str, **changes: Any) -> Path:
    """A spec with a relative run directory, as specs in a repository have."""
    import tomli_w

    changes = {"study__name": name, "baseline__epochs": 2, "finetune__epochs": 1, "finetune__compare": False, **changes}
    path = folder / "spec.toml"
    path.write_text(tomli_w.dumps(small_spec(**changes)))
    return path


def _id(output: str) -> str:
    found = re.match(r"(\S+): ", output)
    assert found is not None, output
    return found[1]


def _paid(run: Path) -> list[tuple[int, int, int]]:
    rows = read_study(run / "journal.jsonl").candidates()
    return [(row["id"], entry["rung"], entry["repeat"]) for row in rows for entry in row["measurements"]]


def test_a_study_is_submitted_attached_to_stopped_continued_and_fetched(head: RayHead, tmp_path: Path) -> None:
    _write(tmp_path, "digits", study__evaluations=40)
    run = head.home / "pqsearch" / "runs" / "digits"

    first = head.command("submit", "spec.toml", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    id = _id(first.stdout)
    assert re.fullmatch(r"digits-[0-9a-f]{8}-1", id)
    assert "cluster: room for 2 of 2 workers on 1 node" in first.stdout
    again = head.command("submit", "spec.toml", cwd=tmp_path)
    assert again.stdout.startswith(f"{id}: runs already, attached to it"), again.stderr

    _write(tmp_path, "digits", study__evaluations=41)
    other = head.command("submit", "spec.toml", cwd=tmp_path)
    assert other.returncode == 2
    assert other.stderr.startswith(f"study.run_dir: runs/digits is in use by {id}, which runs with another spec")
    _write(tmp_path, "digits", study__evaluations=40)

    until(lambda: (run / "journal.jsonl").is_file() and len(_paid(run)) >= 6)
    stopped = head.command("stop", id, cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    state, line = stopped.stdout.splitlines()
    assert state.startswith(f"{id}: stopped")
    assert line == "interrupted: nothing finished is lost; the same command continues"
    paid = _paid(run)
    assert (run / "run.lock").read_text() == "", "the lock was not given back"

    follow = head.command("submit", "spec.toml", "--follow", cwd=tmp_path)
    second = id.removesuffix("1") + "2"
    assert follow.returncode == 0, follow.stdout + follow.stderr
    assert follow.stdout.startswith(f"{second}: submitted, goes on where {id} ended")
    assert "was killed" not in follow.stdout, "the first attempt did not end cleanly"
    assert set(paid) <= set(_paid(run))
    assert len(_paid(run)) == len(set(_paid(run)))
    begun = started(run)
    assert not [key for key in set(begun) if key in paid and begun.count(key) > 1], "paid for twice"

    jobs = head.command("jobs", "--json", cwd=tmp_path)
    listed = {row["id"]: row["status"] for row in map(json.loads, jobs.stdout.splitlines())}
    assert listed == {id: "STOPPED", second: "SUCCEEDED"}
    assert head.command("status", second, cwd=tmp_path).stdout.startswith(f"{second}: succeeded")
    assert "report" in head.command("logs", second, cwd=tmp_path).stdout

    fetched = head.command("fetch", second, "--to", "here", cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    here = tmp_path / "here"
    for name in ("plan.json", "model.pth", "summary.json", "report.html", "journal.jsonl"):
        assert (here / name).read_bytes() == (run / name).read_bytes(), name
    shown = subprocess.run(
        [sys.executable, "-m", "pqsearch", "evaluate", "here"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    summary = json.loads((here / "summary.json").read_text())
    assert json.loads(shown.stdout)["test_accuracy"] == summary["searched"]["test_accuracy"]
    assert head.command("jobs", "--json", cwd=tmp_path).stdout == jobs.stdout, "fetching left jobs behind"


def test_a_job_whose_driver_is_killed_is_started_again_and_goes_on(head: RayHead, tmp_path: Path) -> None:
    _write(tmp_path, "killed", study__evaluations=12)
    run = head.home / "pqsearch" / "runs" / "killed"
    first = head.command("submit", "spec.toml", "--retries", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    until(lambda: (run / "journal.jsonl").is_file() and len(_paid(run)) >= 2)
    paid = _paid(run)
    (driver,) = _drivers(head)
    os.kill(driver.pid, signal.SIGKILL)
    follow = head.command("logs", _id(first.stdout), "--follow", cwd=tmp_path)
    assert follow.returncode == 0, follow.stdout
    assert "pqsearch ended with -9: started again, 1 of 2 times" in follow.stdout
    assert "was killed: everything that it had finished is kept" in follow.stdout
    begun = started(run)
    assert not [key for key in set(begun) if key in paid and begun.count(key) > 1], "paid for twice"

    code = (
        "import sys, pqsearch; id = pqsearch.submit('spec.toml', address=sys.argv[1], retries=2); "
        "print(id, pqsearch.fetch(id, address=sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, head.address]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=head.environment(), check=True)
    assert done.stdout == f"{_id(first.stdout).removesuffix('1')}2 {tmp_path}/runs/killed\n"
    assert (tmp_path / "runs" / "killed" / "plan.json").read_bytes() == (run / "plan.json").read_bytes()


def _drivers(head: RayHead) -> list[psutil.Process]:
    return [one for one in head.family() if one.cmdline()[1:4] == ["-m", "pqsearch", "run"]]


def test_plain_ray_job_submit_does_as_well(head: RayHead, tmp_path: Path) -> None:
    _write(tmp_path, "plain", study__evaluations=4)
    done = subprocess.run(
        [
            sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.address,
            "--working-dir", ".", "--", "python", "-m", "pqsearch", "run", "spec.toml",
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=head.environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (head.home / "pqsearch" / "runs" / "plain" / "report.html").is_file()


@pytest.mark.release
def test_a_model_of_ones_own_is_sent_and_its_run_goes_on_from_where_ray_unpacks_it_next(
    head: RayHead, tmp_path: Path
) -> None:
    mine = (ROOT / "examples" / "your_model.py").read_text()
    changes = {"model": {"name": "mine:make"}, "algorithm": {"name": "random_search"}}
    baseline = head.home / "pqsearch" / "runs" / "own" / "baseline.pth"
    weights = []
    for evaluations in (4, 6):
        (tmp_path / "mine.py").write_text(f"{mine}# {evaluations}\n")
        _write(tmp_path, "own", study__evaluations=evaluations, **changes)
        done = head.command("submit", "spec.toml", "--follow", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        weights.append(baseline.read_bytes())
    assert weights[0] == weights[1]
    assert sum(row["state"] == "done" for row in read_study(baseline.parent / "journal.jsonl").candidates()) == 6


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"data__root": "/nowhere/images", "data__name": "image_folder"}, (), "data.root: /nowhere/images"),
        ({"model__folder": "/nowhere"}, (), "model.folder: /nowhere does not exist on node "),
        (
            {"workers__cpus": 64.0},
            ("--timeout", "5"),
            "workers.wait: no room for a worker after 5 seconds: a worker takes 64",
        ),
        ({"study__run_dir": "/proc/nowhere"}, (), "study.run_dir: cannot write in /proc/nowhere"),
    ],
)
def test_what_the_cluster_lacks_is_said_by_submit_before_anything_is_trained(
    changes: dict[str, Any], options: tuple[str, ...], words: str, head: RayHead, tmp_path: Path
) -> None:
    _write(tmp_path, "lacking", **changes)
    done = head.command("submit", "spec.toml", *options, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(words), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(head.home.rglob("lacking/baseline.pth"))


@pytest.mark.parametrize("hidden", ["models", "runs"])
def test_a_node_that_does_not_see_what_the_others_see_is_named(hidden: str, head: RayHead, tmp_path: Path) -> None:
    folder = tmp_path / hidden
    folder.mkdir()
    # A name space of its own, in which the folder is another, empty one.
    hide = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs tmpfs {shlex.quote(str(folder))} && exec "$@"', "sh")
    allowed = subprocess.run([*hide, "true"], check=False, capture_output=True)
    assert allowed.returncode == 0, f"only root may give a process mounts of its own: {allowed.stderr!r}"
    (tmp_path / "models" / "mine").mkdir(parents=True, exist_ok=True)
    _write(tmp_path, "hidden", model__folder=str(tmp_path / "models" / "mine"), workers__count=3)
    with head.another_node(*hide):
        done = head.command("submit", "spec.toml", "--runs", tmp_path / "runs", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    words = {
        "models": f"model.folder: {tmp_path}/models/mine does not exist on node ",
        "runs": f"study.run_dir: what is written to {tmp_path}/runs/runs/hidden is not seen on node ",
    }
    (line,) = done.stderr.splitlines()
    assert line.startswith(words[hidden])
    assert not list(tmp_path.rglob("baseline.pth"))


def test_a_package_that_the_cluster_lacks_is_named(head: RayHead, tmp_path: Path) -> None:
    _write(tmp_path, "small")
    (tmp_path / "optuna.py").write_text("import there_is_no_such_package\n")
    done = head.command("submit", "spec.toml", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert (
        "the cluster's python has no package 'there_is_no_such_package'; install pqsearch with all it needs"
        in done.stderr
    )


@pytest.mark.parametrize("command", ["status", "logs", "stop", "fetch"])
def test_an_unknown_job_and_one_of_others_are_refused(command: str, head: RayHead, tmp_path: Path) -> None:
    unknown = head.command(command, "nothing-1", cwd=tmp_path)
    assert (unknown.returncode, unknown.stderr) == (
        2,
        f"nothing-1: no such job at {head.address}; `pqsearch jobs` lists those there are\n",
    )
    other = f"other-{command}"
    code = (
        "import sys; from ray.job_submission import JobSubmissionClient as Client; "
        "Client(sys.argv[1]).submit_job(entrypoint='true', submission_id=sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, head.address, other], check=True, env=head.environment())
    done = head.command(command, other, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{other}: is a job at {head.address}, but no study's")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "0" * 64}, "the cluster refuses the token that it was sent"),
        ({"RAY_AUTH_MODE": "disabled"}, "the cluster asks for a token and got none; set RAY_AUTH_MODE=token"),
    ],
)
def test_without_the_right_token_nothing_is_told(
    variables: dict[str, str], words: str, head: RayHead, tmp_path: Path
) -> None:
    _write(tmp_path, "small")
    for command in (["jobs"], ["submit", "spec.toml"]):
        done = head.command(*command, cwd=tmp_path, **variables)
        assert done.returncode == 2
        assert done.stderr.startswith(f"--address {head.address}: {words}")
        assert len(done.stderr.splitlines()) == 1


def test_the_job_server_listens_on_loopback_only(head: RayHead) -> None:
    port = int(head.address.rpartition(":")[2])
    listening = [one for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port == port]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_the_token_stands_in_nothing_that_the_cluster_or_a_run_wrote(head: RayHead) -> None:
    token = head.token.read_bytes()
    written = [path for folder in (head.home, head.logs) for path in folder.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if token in path.read_bytes()]
