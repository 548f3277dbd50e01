"""`pqsearch tensorboard`, on a real run."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from pqsearch import tensorboard_command
from pqsearch.cli import main
from pqsearch.event_files import run_of
from pqsearch.journal.lock import Lock
from pqsearch.study import read_study
from pqsearch.tensorboard_command import write_event_files


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("scratch", "ray_tune")))


def _runs(run: Path) -> set[str]:
    return {path.name for path in (run / "tensorboard").iterdir() if path.is_dir()}


def test_every_evaluated_plan_has_a_folder_and_the_next_command_is_said(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorboard", str(run)]) == 0
    ended = {row["id"] for row in read_study(run / "journal.jsonl").candidates() if row["state"] != "same"}
    assert _runs(run) == {run_of(id) for id in ended}
    folder = run / "tensorboard"
    assert capsys.readouterr().out.splitlines() == [f"{folder}: {len(ended)} plans", f"tensorboard --logdir {folder}"]


def test_the_folder_is_written_anew(run: Path) -> None:
    write_event_files(run)
    (run / "tensorboard" / "plan-999999").mkdir()
    before = _runs(run)
    write_event_files(run)
    assert before - _runs(run) == {"plan-999999"}
    assert not list(run.glob(".tensorboard*"))


def test_of_more_plans_the_leading_ones_are_written_and_the_rest_is_said(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorboard", str(run), "--plans", "3"]) == 0
    state = read_study(run / "journal.jsonl")
    assert _runs(run) == {run_of(row["id"]) for row in state.leading(3)}
    first, _ = capsys.readouterr().out.splitlines()
    assert first.endswith(f"the 3 leading ones of {state.done} plans (--plans {state.done} writes all)")


def test_a_run_that_is_followed_is_written_to_its_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard_command, "EVERY_SECONDS", 0.05)
    journal = run / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[: len(lines) // 2]))
    half = read_study(journal).done
    began = threading.Event()
    writer = threading.Thread(
        target=write_event_files, args=(run,), kwargs={"follow": True, "say": lambda text: began.set()}
    )
    writer.start()
    began.wait()
    first = len(_runs(run))
    journal.write_text("".join(lines))
    writer.join()
    assert first == half < len(_runs(run)) == read_study(journal).done


@pytest.mark.parametrize("number", ["0", "-3", "many", "1.5"])
def test_a_wrong_number_of_plans_is_one_line(run: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tensorboard", str(run), f"--plans={number}"]) == 2
    assert capsys.readouterr().err == f"--plans {number}: must be a whole number, at least 1\n"


def test_a_run_without_a_search_is_said_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "journal.jsonl").unlink()
    assert main(["tensorboard", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{run}: no search has begun here; `pqsearch search SPEC` begins it, then run this again"


def test_two_that_write_the_same_folder_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lock(run / "tensorboard.lock"):
        assert main(["tensorboard", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{run}: the run directory is in use by process ")


def test_the_search_goes_on_in_a_run_that_is_written_for_tensorboard(run: Path) -> None:
    write_event_files(run)
    assert main(["search", str(run / "spec.toml")]) == 0
