"""Solving for other budgets: on a finished run, measured by real workers, in the words of the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import pqsearch
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.run_dir import RunDirectory
from pqsearch.study import read_study


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy, since resolving leaves files there."""
    return shutil.copytree(finished_run, tmp_path / "run")


def test_the_expected_plan_holds_the_new_budget_and_the_ones_that_stay(finished_run: Path) -> None:
    found = pqsearch.resolve(finished_run, {"flops": 0.5}, evaluate=False)
    assert found["budgets"] == {"flops": 0.5, "weight_bits": 4.0, "act_bits": 5.0}
    assert all(found["costs"][name] <= limit for name, limit in found["budgets"].items())
    assert 0 < found["low"] <= found["accuracy"] <= found["high"] < 1
    assert found["evaluations"] == read_study(finished_run / "journal.jsonl").done
    assert found["measured"] is None


def test_costs_that_were_no_budgets_can_be_limited_too(finished_run: Path) -> None:
    sizes = [row["costs"]["size_bytes"] for row in read_study(finished_run / "journal.jsonl").leading(100)]
    limit = 0.9 * min(sizes)
    assert pqsearch.resolve(finished_run, {"size_bytes": limit}, evaluate=False)["costs"]["size_bytes"] <= limit


@pytest.mark.usefixtures("warm_ray")
def test_workers_measure_the_plan_once_and_the_same_command_does_not_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.json"
    command = ["resolve", str(run), "--budget", "flops=0.5", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "expected  proxy accuracy" in printed
    assert "measured  proxy accuracy" in printed
    (folder,) = (path for path in (run / "resolved").iterdir() if path.is_dir())
    before = (folder / "journal.jsonl").read_bytes()
    state = read_study(folder / "journal.jsonl")
    assert (state.evaluations, len(state.last_rung(0))) == (1, 2)
    assert state.best()["plan"] == Plan.from_json(json.loads(out.read_text())).to_json()  # type: ignore[index]
    assert main(command) == 0
    assert (folder / "journal.jsonl").read_bytes() == before
    # A run like any other: what it began with is not trained again.
    assert (folder / "baseline.pth").read_bytes() == (run / "baseline.pth").read_bytes()
    assert RunDirectory(folder).read_spec().study.evaluations == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "flop=0.4"], "--budget flop: unknown cost, did you mean 'flops'?"),
        (["--budget", "flops=half"], "--budget flops=half: must be COST=LIMIT with a number"),
        (["--budget", "flops=2"], "budgets.flops: must be in (0, 1], got 2"),
        (["--budget", "flops=0.0001"], "budgets.flops: smallest reachable is"),
        (
            ["--budget", "flops=0.5", "--predict-only", "--out", "/proc/no/plan.json"],
            "--out /proc/no/plan.json: cannot be",
        ),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    arguments: list[str], words: str, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resolve", str(finished_run), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_too_few_evaluations_are_counted(run: Path) -> None:
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    end = next(place for place, line in enumerate(lines) if '"type":"reported"' in line.replace(" ", "")) + 1
    (run / "journal.jsonl").write_text("".join(lines[:end]))
    with pytest.raises(UserError, match="a forecast needs 8; let the search go on"):
        pqsearch.resolve(run, {"flops": 0.5}, evaluate=False)


def test_a_run_without_a_search_says_so(run: Path) -> None:
    (run / "journal.jsonl").unlink()
    with pytest.raises(UserError, match="no plan is evaluated yet"):
        pqsearch.resolve(run, {"flops": 0.5}, evaluate=False)
