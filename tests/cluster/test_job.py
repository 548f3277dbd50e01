"""Requests for jobs: plain values, pure functions of what they are made of."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from cluster.job import digest_of, render
from cluster.submitting import prepare
from pqsearch.errors import UserError
from pqsearch.spec import parse_spec
from tests.conftest import small_spec, write_spec


def _request(command: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    spec = parse_spec(small_spec(**changes))
    return render(spec, command or ["run", "spec.toml"], digest="0123abcd", working_dir="/home/me/project")


def test_a_request_is_this_and_nothing_else() -> None:
    assert _request() == {
        "study": "small-0123abcd",
        "entrypoint": "python -m pqsearch run spec.toml",
        "runtime_env": {
            "working_dir": "/home/me/project",
            "excludes": [],
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"},
        },
        "metadata": {"pqsearch": "0.1.0", "study": "small", "spec": "0123abcd", "run_dir": "runs/small", "runs": ""},
    }


def test_no_word_of_a_command_reaches_the_shell_unquoted() -> None:
    words = ["run", "my spec; touch owned.toml", "--set", "data.root=$(id) `id` 'x'\"\n&& id"]
    assert shlex.split(_request(words)["entrypoint"]) == ["python", "-m", "pqsearch", *words]


def test_retries_are_the_affair_of_a_process_on_the_cluster() -> None:
    spec = parse_spec(small_spec())
    request = render(spec, ["run", "spec.toml"], digest="0123abcd", working_dir=".", retries=3)
    assert request["entrypoint"] == "python -m cluster.again 3 run spec.toml"


def test_the_folder_of_runs_is_named_to_the_job_and_to_who_fetches() -> None:
    spec = parse_spec(small_spec())
    request = render(spec, ["run", "spec.toml"], digest="0123abcd", working_dir=".", runs="/mnt/runs")
    assert request["runtime_env"]["env_vars"]["PQSEARCH_RUNS"] == "/mnt/runs"
    assert request["metadata"]["runs"] == "/mnt/runs"


def test_a_password_in_a_command_is_refused_and_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        _request(["run", "spec.toml", "--set", "study.storage=postgresql://me:geheim@host/db"])
    assert "geheim" not in str(caught.value)
    assert "a job's command is shown to everyone who may see the cluster" in str(caught.value)


def test_a_password_in_a_spec_stands_in_no_request() -> None:
    request = _request(study__storage="postgresql://me:geheim@host/db")
    assert "geheim" not in json.dumps(request)


def test_a_relative_run_directory_may_not_leave_the_folder_of_runs() -> None:
    with pytest.raises(UserError, match=r"^study.run_dir: runs/../../x may lead anywhere on a cluster"):
        _request(study__run_dir="runs/../../x")


def test_the_digest_is_of_what_a_spec_says_and_not_of_how_it_is_written() -> None:
    spec = small_spec()
    assert digest_of(spec) == digest_of(dict(reversed(spec.items())))
    assert digest_of(spec) != digest_of(small_spec(study__seed=1))
    assert digest_of(small_spec(study__storage="postgresql://me:a@host/db")) == digest_of(
        small_spec(study__storage="postgresql://me:b@host/db")
    )


def test_what_a_command_waits_for_is_no_part_of_the_id(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    one, other = (prepare(spec, working_dir=tmp_path, timeout=seconds).request for seconds in (None, 60))
    assert one["study"] == other["study"]
    assert other["entrypoint"] == "python -m pqsearch run spec.toml --set workers.wait=60.0"


def test_other_values_are_another_job_of_the_study(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    one, other = (prepare(spec, over, working_dir=tmp_path).request for over in ((), ("study.seed=3",)))
    assert one["study"] != other["study"]
    assert one["metadata"]["study"] == other["metadata"]["study"] == "small"


def test_the_same_spec_in_another_folder_of_runs_is_another_job(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    studies = {prepare(spec, working_dir=tmp_path, runs=runs).request["study"] for runs in (None, "/mnt/a", "/mnt/b")}
    assert len(studies) == 3


def test_from_python_mistakes_are_the_same(tmp_path: Path) -> None:
    import pqsearch

    with pytest.raises(UserError, match="cannot be reached"):
        pqsearch.submit(write_spec(tmp_path), address="http://127.0.0.1:1", working_dir=tmp_path)
    with pytest.raises(UserError, match="cannot be reached"):
        pqsearch.fetch("small-0123abcd-1", tmp_path / "here", address="http://127.0.0.1:1")


def test_a_spec_outside_the_working_directory_is_refused(tmp_path: Path) -> None:
    spec, elsewhere = write_spec(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(UserError, match="is outside the working directory"):
        prepare(spec, working_dir=elsewhere)
    (elsewhere / "link.toml").symlink_to(spec)
    with pytest.raises(UserError, match="is outside the working directory"):
        prepare(elsewhere / "link.toml", working_dir=elsewhere)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": -1}, "--retries -1: must be at least 0"),
        ({"timeout": 0.0}, "--timeout 0: must be above 0"),
        ({"timeout": float("nan")}, "--timeout nan: must be above 0"),
        ({"working_dir": "nowhere"}, "--working-dir nowhere: is no folder"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        prepare(write_spec(tmp_path), **options)


def test_a_dry_run_prints_the_request_and_asks_no_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pqsearch.cli import main

    write_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["submit", "spec.toml", "--dry-run", "--address", "http://127.0.0.1:1"]) == 0
    request = json.loads(capsys.readouterr().out)
    assert request == prepare("spec.toml").request
    assert request["runtime_env"]["working_dir"] == os.fspath(tmp_path)
