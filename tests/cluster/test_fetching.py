"""A run directory sent in parts and put together again. The head is a stand-in here; a real one is in `tests/long`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster import fetching, sending
from cluster.fetching import fetch
from cluster.head import Job
from cluster.sending import MARK
from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory


class StandIn:
    """Runs what is submitted at once, here, in a folder of "the cluster"."""

    address = "http://cluster:8265"

    def __init__(self, run: Path, part: int = sending.PART_BYTES, study: str = "small") -> None:
        metadata = {"pqsearch": "0", "study": study, "run_dir": str(run), "runs": ""}
        self._job = Job(f"{study}-0123abcd-1", study, "SUCCEEDED", metadata=metadata)
        self._part = part
        self._logs: dict[str, str] = {}

    def job(self, id: str) -> Job:
        return self._job

    def state(self, id: str) -> Job:
        return Job(id, "", "SUCCEEDED")

    def submit(self, request: Mapping[str, Any], id: str) -> bool:
        *_, path, _, after, offset = shlex.split(request["entrypoint"])
        run = RunDirectory(path)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            print("some warning")
            for record in sending.records(run, after, int(offset), self._part):
                print(MARK + json.dumps(self.change(record)))
        self._logs[id] = printed.getvalue()
        return True

    def change(self, record: dict[str, Any]) -> dict[str, Any]:
        return record

    def logs(self, id: str) -> str:
        return self._logs[id]

    def delete(self, id: str) -> None:
        del self._logs[id]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "cluster" / "run"
    for name, content in {
        "spec.toml": b'study = { storage = "postgresql://me:geheim@host/db" }\n',
        "journal.jsonl": b"{}\n" * 1000,
        "model.pth": os.urandom(5000),
        "empty": b"",
        "plans/searched-1.json": b"[]",
        "logs/pqsearch.log": "Zeile für Zeile\n".encode(),
        "logs/ray_tune/x/big.json": b"no",
        "scratch/1-0-0.pth": b"no",
        "tensorboard/plan-000001/events.out.tfevents.0000000000.pqsearch": b"no",
        "run.lock": b"no",
        ".summary.json-abcdefgh": b"no",
        "checkpoints/plan-1/checkpoint.pth": b"no",
        "checkpoints/plan-1/weights.pth": os.urandom(300),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


RESULTS = {
    "spec.toml", "journal.jsonl", "model.pth", "empty", "plans/searched-1.json", "logs/pqsearch.log",
    "checkpoints/plan-1/weights.pth",
}  # fmt: skip


@pytest.mark.parametrize("part", [1, 7, 300, 5000, 10**6])
def test_results_arrive_whole_in_parts_of_any_size(part: int, run: Path, tmp_path: Path) -> None:
    if part < 300:  # a job for each byte takes its time
        for name in ("journal.jsonl", "model.pth", "checkpoints/plan-1/weights.pth"):
            (run / name).write_bytes(b"0123456789abcdef")
    folder, number, _ = fetch(StandIn(run, part), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
    assert _names(folder) == RESULTS | {"fetched.json", "run.lock"}
    assert number == len(RESULTS)
    for name in RESULTS - {"spec.toml"}:
        assert (folder / name).read_bytes() == (run / name).read_bytes(), name


def test_a_password_of_the_run_does_not_travel(run: Path, tmp_path: Path) -> None:
    head = StandIn(run)
    fetch(head, "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
    assert (tmp_path / "here" / "spec.toml").read_text() == 'study = { storage = "postgresql://me:***@host/db" }\n'


def test_fetching_again_brings_what_is_new(run: Path, tmp_path: Path) -> None:
    for content in (b"a", b"bb"):
        (run / "summary.json").write_bytes(content)
        fetch(StandIn(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
        assert (tmp_path / "here" / "summary.json").read_bytes() == content


def test_what_was_not_fetched_is_never_written_over(run: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "spec.toml").write_text("mine")
    with pytest.raises(UserError, match=r"holds something that was not fetched; give another folder"):
        fetch(StandIn(run), "small-0123abcd-1", here)  # type: ignore[arg-type]
    assert _names(here) == {"spec.toml"}


def test_a_job_of_another_study_does_not_replace_what_is_there(run: Path, tmp_path: Path) -> None:
    fetch(StandIn(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"holds results of study 'small', .* is a job of study 'other'"):
        fetch(StandIn(run, study="other"), "other-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]


def test_a_run_that_goes_on_here_is_no_longer_a_copy(run: Path, tmp_path: Path) -> None:
    from pqsearch.spec import parse_spec
    from tests.conftest import small_spec

    spec = parse_spec(small_spec(study__run_dir=str(tmp_path / "here")))
    (run / "spec.toml").write_text(spec.to_toml())
    fetch(StandIn(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
    RunDirectory(tmp_path / "here").prepare(spec)
    with pytest.raises(UserError, match="was not fetched"):
        fetch(StandIn(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", ""])
def test_a_cluster_cannot_write_anywhere_else(name: str, run: Path, tmp_path: Path) -> None:
    class Hostile(StandIn):
        def change(self, record: dict[str, Any]) -> dict[str, Any]:
            return {**record, "file": name} if "file" in record else record

    with pytest.raises(UserError, match="would be outside"):
        fetch(Hostile(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
    assert not (tmp_path / "outside").exists()


def test_a_file_that_changes_between_two_parts_is_noticed(run: Path, tmp_path: Path) -> None:
    class Busy(StandIn):
        def submit(self, request: Mapping[str, Any], id: str) -> bool:
            (run / "model.pth").write_bytes(os.urandom(5000))
            return super().submit(request, id)

    with pytest.raises(UserError, match=r"model.pth has changed while it was fetched; fetch again"):
        fetch(Busy(run, 2000), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]


def test_too_much_for_a_log_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 4000)
    with pytest.raises(UserError, match="too much for the way by a job's log; copy it"):
        fetch(StandIn(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]


def test_a_log_that_is_cut_off_is_noticed(run: Path, tmp_path: Path) -> None:
    class Cut(StandIn):
        def logs(self, id: str) -> str:
            return "".join(super().logs(id).splitlines(keepends=True)[:-1])

    with pytest.raises(UserError, match="its log is not whole; fetch again"):
        fetch(Cut(run), "small-0123abcd-1", tmp_path / "here")  # type: ignore[arg-type]
