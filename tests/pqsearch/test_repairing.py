"""`pqsearch repair`: what is whole of a damaged journal is saved, and said."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

import pqsearch
from pqsearch import rooms
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.journal.file import read_events
from pqsearch.journal.lock import Lock
from pqsearch.journal.record import parse
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.run_dir import RunDirectory
from pqsearch.settings import Settings
from pqsearch.spec import parse_spec
from pqsearch.study import Study, read_study
from tests.conftest import small_spec
from tests.pqsearch.problems import Knapsack


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run directory of a small search over two rungs, whose scores are computed."""
    spec = parse_spec(small_spec(study__run_dir=str(tmp_path / "run")))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    problem = Knapsack([4] * 6)
    journal, events, _ = run.journal.open(count(1).__next__)
    study = Study(
        problem, lambda prior: rooms.load("algorithms", "genetic")(problem, 0, population=4),
        journal, Settings(evaluations=12, rungs=2), lambda: 0.0, events=events,
    )  # fmt: skip
    run_locally(study, _evaluate)
    journal.close()
    return run.path


def _evaluate(item: Item) -> Result:
    share = int(item.plan.hash, 16) / 16**16
    return Result(item.id, item.rung, item.repeat, Accuracy(share, 100), 1 - share, {"score": 0.01})


def _damage(run: Path, share: float = 0.6) -> tuple[int, list[bytes]]:
    """Flip a byte in the middle; returns the number of the line, and the lines as they were."""
    path = run / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = int(share * len(lines))
    hurt = bytearray(lines[number - 1])
    hurt[10] ^= 1
    path.write_bytes(b"".join([*lines[: number - 1], bytes(hurt), *lines[number:]]))
    return number, lines


def _measured(lines: list[bytes]) -> int:
    """Evaluations by their last rung, which is the second one of the small spec."""
    return sum(event["type"] == "reported" and event["rung"] == 1 for event in map(json.loads, lines))


def test_what_stands_before_the_damage_is_saved_into_a_new_file(run: Path) -> None:
    number, lines = _damage(run)
    before = (run / "journal.jsonl").read_bytes()
    with pytest.raises(UserError, match=rf"journal.jsonl: line {number} is damaged; `pqsearch repair {run}` saves"):
        read_study(run / "journal.jsonl")
    answer = pqsearch.repair(run)
    saved = run / "journal-repaired.jsonl"
    assert answer == {
        "journal": str(run / "journal.jsonl"),
        "damaged": number,
        "unreadable": 1,
        "events": {"kept": number - 1, "lost": len(lines) - number + 1},
        "evaluations": {"kept": _measured(lines[: number - 1]), "lost": _measured(lines[number:])},
        "out": str(saved),
    }
    assert answer["evaluations"]["kept"] and answer["evaluations"]["lost"]
    assert saved.read_bytes() == b"".join(lines[: number - 1])
    assert (run / "journal.jsonl").read_bytes() == before
    read_study(saved)


def test_the_journal_is_replaced_where_that_is_asked_for_and_the_damaged_one_is_kept(run: Path) -> None:
    number, lines = _damage(run)
    before = (run / "journal.jsonl").read_bytes()
    answer = pqsearch.repair(run, in_place=True)
    assert Path(answer["aside"]).read_bytes() == before
    assert (run / "journal.jsonl").read_bytes() == b"".join(lines[: number - 1])
    assert len(read_events(run / "journal.jsonl")) == number - 1
    _damage(run, 0.5)
    assert pqsearch.repair(run, in_place=True)["aside"] != answer["aside"]
    assert Path(answer["aside"]).read_bytes() == before


def test_the_command_says_what_is_kept_and_what_is_lost(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number, lines = _damage(run)
    kept, lost = _measured(lines[: number - 1]), _measured(lines[number:])
    assert main(["repair", str(run), "--out", str(run / "saved.jsonl")]) == 0
    said = capsys.readouterr().out
    assert f"line {number} is damaged" in said
    assert f"lines 1 to {number - 1}: {number - 1} events, {kept} evaluations" in said
    assert (
        f"lines {number} to {len(lines)}: {len(lines) - number + 1} events, 1 of them unreadable; {lost} eval" in said
    )
    assert str(run / "saved.jsonl") in said
    assert main(["repair", str(run), "--out", str(run / "saved.jsonl")]) == 2
    assert "saved.jsonl: exists already" in capsys.readouterr().err
    assert main(["repair", str(run), "--in-place"]) == 0
    assert "journal-damaged-1.jsonl" in capsys.readouterr().out
    assert main(["trials", str(run)]) == 0


def test_a_damaged_first_line_leaves_nothing_and_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = _damage(run, 1 / len((run / "journal.jsonl").read_bytes().splitlines()))
    assert main(["repair", str(run)]) == 0
    said = capsys.readouterr().out
    assert "kept     nothing: the first line is damaged" in said
    assert f"{_measured(lines)} evaluations in those that can be read" in said


@pytest.mark.parametrize("torn", [b"", b'{"seq":'], ids=["whole", "torn"])
def test_a_journal_without_damage_needs_no_repair(run: Path, torn: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "journal.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    before = path.read_bytes()
    assert main(["repair", str(run), "--in-place"]) == 0
    assert "there is nothing to repair" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert sorted(found.name for found in run.iterdir() if found.suffix == ".jsonl") == ["journal.jsonl"]


def test_a_journal_in_use_is_left_alone(run: Path) -> None:
    _damage(run)
    with Lock(run / "journal.lock"), pytest.raises(UserError, match="in use by process"):
        pqsearch.repair(run, wait_seconds=0.3)
    assert not (run / "journal-repaired.jsonl").exists()


def test_repair_of_what_is_no_run_or_has_no_journal_or_two_answers_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["repair", str(run.parent / "nowhere")]) == 2
    assert main(["repair", str(run), "--in-place", "--out", "x"]) == 2
    (run / "journal.jsonl").unlink()
    assert main(["repair", str(run)]) == 2
    first, second, third = capsys.readouterr().err.strip().splitlines()
    assert "is not a run directory" in first
    assert second.startswith("--out: names a new file")
    assert "no search has begun" in third


def test_lines_are_found_wrong_one_by_one_where_many_are_read_at_once(run: Path) -> None:
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        hurt = bytearray(lines[number - 1])
        hurt[len(hurt) // 2] ^= 1
        found = parse([*lines[: number - 1], bytes(hurt), *lines[number:]])
        assert (found.damaged, found.torn, len(found.events)) == (number, False, number - 1)
        assert found.size == sum(map(len, lines[: number - 1]))
        torn = parse([*lines[: number - 1], lines[number - 1][:-1]])
        assert (torn.damaged, torn.torn, len(torn.events)) == (None, True, number - 1)
