"""What of a working directory is sent: code and specs, and neither data nor runs."""

from __future__ import annotations

import os
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cluster import package
from pqsearch.errors import UserError
from tests.conftest import write_spec


def _sent(folder: Path, spec: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.chdir(folder.parent)  # where the command runs does not matter
    data = tomllib.loads(spec.read_text())
    patterns = package.excludes(data, data["study"]["run_dir"], folder)
    made = package.pack(folder, patterns, folder.parent / "sent.zip")
    with zipfile.ZipFile(made) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_data_runs_caches_and_what_ignore_files_name_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    _write(folder, "mine.py", "runs/small/model.pth", "elsewhere/run/journal.jsonl", "images/a/1.png", "held/b/2.png")
    _write(folder, ".git/config", ".venv/bin/python", "a/__pycache__/x.pyc", "notes.tmp", "large.bin", "weights.pth")
    (folder / ".gitignore").write_text("*.tmp\n")
    (folder / ".rayignore").write_text("large.bin\n")
    spec = write_spec(
        folder,
        study__run_dir="elsewhere/run",
        data__root="images",
        data__validation="held",
        model__weights="weights.pth",
    )
    sent = _sent(folder, spec, monkeypatch)
    assert sent == {"mine.py", "spec.toml", "weights.pth", ".gitignore", ".rayignore"}


def test_a_package_that_ray_would_refuse_is_named_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    spec = write_spec(folder, study__run_dir="run")
    (folder / "big.bin").write_bytes(os.urandom(2**20))
    monkeypatch.setattr(package, "MOST_BYTES", 2**19)
    with pytest.raises(UserError) as caught:
        _sent(folder, spec, monkeypatch)
    assert "is 1 MiB to send, Ray takes 0 MiB (largest: big.bin 1 MiB" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("data__root", "images", "data.root: images would have to be sent, and data are not"),
        ("data__validation", "images", "data.validation: images would have to be sent"),
        ("model__weights", "../weights.pth", "model.weights: ../weights.pth is outside the working directory"),
        ("model__weights", "left.pth", "model.weights: left.pth is not sent, an ignore file"),
        ("study__plans", ["../plan.json"], "study.plans[0]: ../plan.json is outside"),
    ],
)
def test_what_a_spec_names_and_the_cluster_will_not_have_is_said_first(
    key: str, value: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    _write(folder, "images/a/1.png", "left.pth", "../weights.pth")
    (folder / ".gitignore").write_text("left.pth\n")
    spec = write_spec(folder, **{"study__run_dir": "run", key: value})
    _sent(folder, spec, monkeypatch)
    (problem,) = package.sent_problems(tomllib.loads(spec.read_text()), folder, tmp_path / "sent.zip")
    assert problem.startswith(words)


def test_paths_on_the_cluster_are_not_looked_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    spec = write_spec(
        folder, study__run_dir="run", data__root="/mnt/images", model__weights="/mnt/w.pth", data__cache="c"
    )
    _sent(folder, spec, monkeypatch)
    assert not list(package.sent_problems(tomllib.loads(spec.read_text()), folder, tmp_path / "sent.zip"))
