"""Whole runs whose directory is in a store, from begin to end; `tests/long/test_killed_in_a_store.py` kills one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import ray

import pqsearch
from pqsearch.cli import main
from pqsearch.resolving import resolve
from tests.conftest import write_spec
from tests.s3 import SECRET, Bucket, Server


@pytest.mark.release  # `tests/long/test_no_shared_disk.py` has a store on a cluster
def test_a_run_goes_from_begin_to_end_and_is_all_there_without_the_copy(
    s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = s3_bucket.url()
    spec = write_spec(
        tmp_path,
        study__evaluations=9,
        study__run_dir=url,
        baseline__epochs=2,
        finetune__epochs=1,
        finetune__compare=False,
    )
    assert main(["run", str(spec)]) == 0
    assert not ray.is_initialized(), "the one that it started is gone"
    assert f"store    {url}" in capsys.readouterr().out
    found = s3_bucket.objects()
    names = {
        "spec.toml",
        "journal.jsonl",
        "baseline.pth",
        "plan.json",
        "model.pth",
        "summary.json",
        "report.html",
        "optuna.log",
    }
    assert names <= found.keys() and json.loads(found["owner.json"])["open"] is False
    assert not [
        name for name in found if name.startswith(("scratch/", "claims/")) or name.endswith((".lock", "checkpoint.pth"))
    ]
    started = [json.loads(line) for name in found if "/started-" in name for line in found[name].splitlines()]
    assert {row["id"] for row in started} >= set(range(9))
    # The keys are nowhere: not in what is kept there, not in what stays here.
    kept = [*found.values(), *(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())]
    assert not [data for data in kept if SECRET.encode() in data]

    shutil.rmtree(tmp_path / "cache")
    assert main(["report", str(spec)]) == 0
    assert main(["run", str(spec)]) == 0
    again = s3_bucket.objects()
    for name in ("journal.jsonl", "model.pth", "plan.json", "checkpoints/finetune.json"):
        assert again[name] == found[name], f"{name} was made anew"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of somebody else"))
    capsys.readouterr()
    for command in (
        ["show", url],
        ["trials", url, "--json"],
        ["select", url, "--budget", "flops=0.9"],
        ["tensorboard", url],
    ):
        assert main(command) == 0
    assert main(["evaluate", url]) == 0
    assert json.loads(capsys.readouterr().out[-600:].partition("\n{\n")[2].join(("{\n", "")))["test_images"] == 600
    assert sum(parameter.numel() for parameter in pqsearch.load(url).parameters()) > 0

    assert resolve(url, {"flops": 0.5}, evaluate=False)["run_dir"].startswith(
        f"s3://{s3_bucket.name}/small/resolved/flops-0.5-"
    )


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_store_that_cannot_be_used_is_one_line_before_anything_is_trained(
    command: str, s3_bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        s3_bucket.url().replace(
            s3_bucket.name, "nowhere"
        ): "there is no bucket 'nowhere'; make it, or name another one",
        Bucket(Server(), "runs").url(): "check the address and the network",
        f"{s3_bucket.url()}&colour=red": "write s3://BUCKET/FOLDER, or name a folder",
    }
    for url, way_out in wrong.items():
        assert main([command, str(write_spec(tmp_path, study__run_dir=url))]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"study.run_dir: {url}: ") and line.endswith(way_out)
    s3_bucket.server.ask_for_keys(True)
    assert main([command, str(write_spec(tmp_path, study__run_dir=s3_bucket.url()))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("check the keys, and what they may do") and SECRET not in line
    assert not (tmp_path / "cache").exists()


def test_a_run_of_another_spec_is_left_as_it_is(
    s3_bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baseline", str(write_spec(tmp_path, study__run_dir=s3_bucket.url()))]) == 0
    before = s3_bucket.objects()
    other = write_spec(tmp_path, study__run_dir=s3_bucket.url(), study__seed=7)
    shutil.rmtree(tmp_path / "cache")
    capsys.readouterr()
    for command in ("check", "run"):
        assert main([command, str(other)]) == 2
        assert "study.seed: the run in" in capsys.readouterr().err
    after = s3_bucket.objects()
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"owner.json"}


def test_a_folder_without_a_run_is_said_to_be_none(s3_bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", s3_bucket.url()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{s3_bucket.url()}: is not a run directory")
