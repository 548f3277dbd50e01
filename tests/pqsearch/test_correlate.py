"""Proxy against full fine-tune: on a finished run, with real trainings, in the words of the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import pqsearch
from pqsearch.cli import main
from pqsearch.correlating import pick
from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory
from pqsearch.study import read_study

LEFT_ALONE = ("plan.json", "model.pth", "journal.jsonl", "checkpoints/finetune.json")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy, since correlating leaves files there."""
    return shutil.copytree(finished_run, tmp_path / "run")


def _paid(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (run / "checkpoints").glob("*/result.json")}


def _left_alone(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in LEFT_ALONE}


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_spread_plans_are_fine_tuned_once_and_the_winner_stays(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, kept, seconds = _paid(run), _left_alone(run), json.loads((run / "stages.json").read_text())
    state = read_study(run / "journal.jsonl")
    known = {json.loads(content)["plan_hash"] for content in before.values()}
    capsys.readouterr()
    assert main(["correlate", str(run), "--plans", "8"]) == 0
    printed = capsys.readouterr()
    found: dict[str, Any] = json.loads((run / "correlation.json").read_text())
    rows = found["plans"]
    # Spread over the scores, in their order, the ends among them.
    ranked = state.spread(100)
    assert len({row["id"] for row in rows}) == 8
    assert (rows[0]["id"], rows[-1]["id"]) == (ranked[0], ranked[-1])
    assert [row["score"] for row in rows] == sorted(row["score"] for row in rows)
    # What the run had is read, what it had not is trained once and told.
    reused = {row["plan_hash"] for row in rows} & known
    paid = _paid(run)
    assert reused
    assert len(paid) == len(before) + 8 - len(reused)
    assert {path: paid[path] for path in before} == before
    assert sum(": proxy accuracy" in line for line in printed.err.splitlines()) == 8
    assert printed.err.count("fine-tuned before") == len(reused)
    assert _left_alone(run) == kept
    assert json.loads((run / "stages.json").read_text()).keys() - seconds.keys() == {"correlate"}
    # Both rankings, each with its images; what is not measured says why.
    for part, images in (("select", 60), ("test", 600)):
        assert {row[f"{part}_images"] for row in rows} == {images}
        assert found[part]["plans"] == 8
        assert (found[part]["tau"] is None) == (found[part]["why"] is not None)
    assert "the 600 test images, which is reported and chooses nothing" in printed.out
    summary = json.loads((run / "summary.json").read_text())
    assert summary["correlation"]["final"] == found
    assert summary["searched"] == json.loads((run.parent / "run" / "summary.json").read_text())["searched"]
    assert "n = 8" in (run / "report.html").read_text()
    # The same again, and fewer plans, cost nothing.
    stages = (run / "stages.json").read_bytes()
    assert main(["correlate", str(run)]) == 0
    assert json.loads((run / "correlation.json").read_text()) == found
    few = pqsearch.correlate(run, plans=3)
    assert (few["select"]["tau"], few["select"]["why"]) == (None, "3 plans, it needs 8")
    assert "not measured (3 plans, it needs 8)" in (run / "report.html").read_text()
    assert (_paid(run), (run / "stages.json").read_bytes()) == (paid, stages)
    assert main(["show", str(run)]) == 0
    assert "not measured (3 plans, it needs 8)" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_a_plan_whose_training_diverges_is_told_not_counted_and_not_tried_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    spec = RunDirectory(run).read_spec()
    wild = spec.model_copy(update={"finetune": spec.finetune.model_copy(update={"lr": 1e9})})
    (run / "spec.toml").write_text(wild.to_toml())
    found = pqsearch.correlate(run, plans=2)
    assert found["plans"] == []
    assert [row["reason"].partition(":")[0] for row in found["failed"]] == ["finetune.lr"] * 2
    assert "2 plans failed in the full fine-tune and are not counted." in (run / "report.html").read_text()
    stages = (run / "stages.json").read_bytes()
    capsys.readouterr()
    assert pqsearch.correlate(run, plans=2) == found
    assert (run / "stages.json").read_bytes() == stages
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("plans", "words"),
    [
        ("1", "--plans 1: must be a whole number, at least 2"),
        ("some", "--plans some: must be a whole number, at least 2"),
        ("-3", "--plans -3: must be a whole number, at least 2"),
        ("10", "--plans 10: the run has 9 evaluated plans; ask for at most so many"),
    ],
)
def test_wrong_numbers_are_answered_in_one_line(
    plans: str, words: str, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["correlate", str(finished_run), "--plans", plans]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(words)


def test_a_search_that_goes_on_is_not_correlated(run: Path) -> None:
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="the search is not finished; `pqsearch search"):
        pqsearch.correlate(run)
    (run / "journal.jsonl").unlink()
    with pytest.raises(UserError, match="the search is not finished"):
        pqsearch.correlate(run)
    with pytest.raises(UserError, match="is not a run directory"):
        pqsearch.correlate(run / "nowhere")


def test_a_plan_near_a_place_is_taken_for_it_if_its_fine_tune_is_there() -> None:
    ranked = list(range(100, 131))  # places every five ranks
    places = ranked[::5]
    assert pick(ranked, places, []) == places
    # 106 is near 105, and 113 lies between two places; the ends are what they are.
    known = [101, 106, 113, 129]
    chosen = pick(ranked, places, known)
    assert chosen == [100, 106, 110, 115, 120, 125, 130]
    assert pick(ranked, places, [*known, *chosen]) == chosen


@pytest.mark.parametrize("number", [2, 3, 8, 20, 24])
def test_the_same_question_has_the_same_answer_whatever_part_of_it_is_done(number: int) -> None:
    ranked = list(range(24))
    places = [round(place * 23 / (number - 1)) for place in range(number)]
    known = [3, 4, 11, 17]
    chosen = pick(ranked, places, known)
    assert len(set(chosen)) == number
    for done in range(number + 1):
        assert pick(ranked, places, {*known, *chosen[:done]}) == chosen
