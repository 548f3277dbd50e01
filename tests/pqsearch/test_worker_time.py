"""Worker hours are those of the journal and of the full fine-tunes; a price makes costs of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pqsearch.cli import main
from pqsearch.estimate import time_table
from pqsearch.run_dir import RunDirectory
from pqsearch.study import read_study
from pqsearch.worker_time import worker_time, worker_time_of
from pqsearch.worker_words import amount, cost_short, worker_sentences


def test_a_run_used_what_its_measurements_and_fine_tunes_took(finished_run: Path) -> None:
    run, state = RunDirectory(finished_run), read_study(finished_run / "journal.jsonl")
    found = worker_time_of(run, state, 2.0)
    events = [json.loads(line) for line in run.journal_file.read_text().splitlines()]
    searched = sum(sum(event["seconds"].values()) for event in events if event["type"] in ("reported", "probed"))
    trained = [json.loads(path.read_text())["seconds"] for path in run.checkpoints.glob("*/result.json")]
    assert found["search"] == pytest.approx(searched / 3600)
    assert found["finetune"] == pytest.approx(sum(trained) / 3600)
    assert len(trained) >= 3
    assert found["total"] == pytest.approx(found["search"] + found["finetune"])
    assert found["cost"] == pytest.approx(2 * found["total"])
    summary = json.loads(run.summary.read_text())["worker_hours"]
    assert summary == worker_time_of(run, state, None)
    assert (summary["price"], summary["cost"]) == (None, None)


def test_hours_and_costs_of_any_size_can_be_read() -> None:
    assert [amount(value) for value in (0, 0.00123, 0.0999, 0.1, 12.345, 12345.6)] == [
        "0.00", "0.0012", "0.1", "0.10", "12.35", "12,345.60",
    ]  # fmt: skip
    paid, free = worker_time(3600.0, 1800.0, 1.2), worker_time(3600.0, 1800.0, None)
    assert cost_short(paid) == "cost 1.80 (1.50 worker hours)"
    assert cost_short(free) == ""
    first, counted = worker_sentences(paid)
    assert first == "1.50 worker hours, which cost 1.80 at 1.2 each: 1.00 in evaluations, 0.50 in full fine-tunes."
    assert worker_sentences(free)[0] == "1.50 worker hours: 1.00 in evaluations, 0.50 in full fine-tunes."
    assert counted.startswith("Counted is what those that came to an end took by their own clocks")


def test_an_estimate_has_the_worker_hours_of_the_whole_run_and_their_cost() -> None:
    seconds = {"one evaluation": 2.0, "baseline": 60.0, "search": 1800.0, "finetune": 60.0, "workers": 3600.0}
    table = time_table(seconds, 1.5)
    assert "whole run: about 32.0 min" in table
    assert table.splitlines()[-1].endswith(
        "about 1.00 worker hours in evaluations and full fine-tunes, which will cost 1.50 at 1.5 each"
    )
    assert "cost" not in time_table(seconds)


def test_a_new_price_is_no_other_run(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = (run / "journal.jsonl").read_bytes()
    priced = ["--set", f"study.run_dir={run}", "--set", "workers.price=3600"]
    assert main(["run", str(finished_run / "spec.toml"), *priced]) == 0
    assert (run / "journal.jsonl").read_bytes() == before
    found = json.loads((run / "summary.json").read_text())["worker_hours"]
    assert found["cost"] == pytest.approx(3600 * found["total"])
    words = f"which cost {amount(found['cost'])} at 3600 each"
    assert words in capsys.readouterr().out
    assert words in (run / "report.html").read_text()
    assert main(["show", str(run)]) == 0
    assert words in capsys.readouterr().out
    # Before there is a summary the same is shown beside the state of the search.
    (run / "summary.json").unlink()
    assert main(["show", str(run)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("search ")
    assert words in shown
