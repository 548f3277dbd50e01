"""What a person sees while a run goes on: lines in a pipe, a table on a terminal, both in the log."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pqsearch.console import LINE_SECONDS, Progress, live_table, search_line, stage_line
from pqsearch.worker_time import worker_time

BEST = {"id": 3, "accuracy": 0.953, "images": 300, "costs": {"flops": 0.498, "weight_bits": 3.99, "params": 0.4}}
SEARCH: dict[str, Any] = {
    "stage": "search", "phase": "searching", "done": 12, "total": 60, "running": 2, "failed": 0, "rate": 0.0683,
    "eta_seconds": 660, "best": BEST,
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _rendered(table: Any) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def _printed(console: Console) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())  # type: ignore[attr-defined]


def test_the_search_fits_a_line() -> None:
    assert search_line(SEARCH) == (
        "search 12/60 running 2 best accuracy 0.953 ± 0.012 (flops 0.498 weight_bits 3.99) 4.1/min eta 11m"
    )


def test_costs_stand_against_the_budgets_that_the_state_knows() -> None:
    line = search_line({**SEARCH, "budgets": {"flops": 0.5, "params": 0.45}})
    assert "(flops 0.498 of 0.5 params 0.4 of 0.45)" in line


def test_failures_and_confirmations_are_told() -> None:
    assert search_line({**SEARCH, "failed": 2, "phase": "confirming"}).startswith(
        "search 12/60 confirming running 2 failed 2 best"
    )


def test_a_price_shows_what_the_search_has_cost() -> None:
    paid = {**SEARCH, "worker_hours": worker_time(1800.0, 0.0, 3.0)}
    assert "cost 1.50 (0.50 worker hours) 4.1/min" in search_line(paid)
    assert re.search(r"cost +1.50 \(0.50 worker hours\)", _rendered(live_table(paid)))
    free = {**SEARCH, "worker_hours": worker_time(1800.0, 0.0, None)}
    assert search_line(free) == search_line(SEARCH)


@pytest.mark.parametrize("state", [{}, {"stage": "search"}, {"stage": "search", "best": {}}, {"stage": "baseline"}])
def test_missing_keys_are_no_reason_to_stop(state: dict[str, Any], tmp_path: Path) -> None:
    with Progress(log=tmp_path / "log", quiet=True) as progress:
        progress.update(state)
    assert "0/0" in stage_line(state)
    assert "0/0" in _rendered(live_table(state))


def test_epochs_fit_a_line() -> None:
    state = {"stage": "finetune", "role": "uniform", "done": 3, "total": 20, "loss": 0.1234, "accuracy": 0.9}
    assert stage_line({**state, "images": 100, "eta_seconds": 45}) == (
        "finetune 3/20 epochs uniform loss 0.123 select accuracy 0.900 ± 0.030 eta 45s"
    )


def test_a_part_of_an_epoch_is_told_in_tenths_and_never_as_more_than_there_is() -> None:
    for done, told in ((0.04, "0.0"), (1.25, "1.2"), (2.99, "2.9"), (3.0, "3"), (3, "3")):
        state = {"stage": "baseline", "done": done, "total": 3}
        assert stage_line(state) == f"baseline {told}/3 epochs"
        assert f" {told}/3" in _rendered(live_table(state))


def test_a_reconstruction_says_how_many_blocks_are_done() -> None:
    state = {"stage": "finetune", "done": 0, "total": 2, "role": "searched", "reconstructed": [3, 22]}
    assert stage_line(state) == "finetune 0/2 epochs searched reconstructed 3/22 blocks"
    assert stage_line({**state, "done": 3 / 22, "unit": "plans"}) == (
        "finetune 0.1/2 plans searched reconstructed 3/22 blocks"
    )


def test_a_training_says_how_long_it_will_take_and_a_forecast_that_moves_is_no_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with Progress(clock=clock) as progress:
        for done in (0, 0.5, 0.5, 0.5, 1):
            progress.update({"stage": "baseline", "done": done, "total": 4})
            clock.now += 2 * LINE_SECONDS
    assert capsys.readouterr().err.splitlines() == [
        "baseline 0/4 epochs", "baseline 0.5/4 epochs eta 70s", "baseline 1/4 epochs eta 2m", "baseline took 50s",
    ]  # fmt: skip


def test_in_a_pipe_lines_come_first_then_seldom_then_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(clock=clock) as progress:
        for done in range(13):
            progress.update({"stage": "search", "done": done, "total": 12, "eta_seconds": None})
            clock.now += LINE_SECONDS / 4
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        *(f"search {done}/12 running 0" for done in (0, 4, 8, 12)), f"search took {13 * LINE_SECONDS / 4:.0f}s",
    ]  # fmt: skip


def test_nothing_is_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(clock=clock) as progress:
        for _ in range(5):
            progress.update({"stage": "baseline", "done": 1, "total": 2})
            clock.now += 2 * LINE_SECONDS
    assert capsys.readouterr().err.splitlines() == ["baseline 1/2 epochs", "baseline took 50s"]


def test_a_new_stage_closes_the_one_before_with_its_last_state_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(clock=clock) as progress:
        progress.update({"stage": "baseline", "done": 0, "total": 2})
        clock.now += 2
        progress.update({"stage": "baseline", "done": 1, "total": 2})
        clock.now += 1
        progress.update({"stage": "search", "done": 0, "total": 9})
    assert capsys.readouterr().err.splitlines() == [
        "baseline 0/2 epochs", "baseline 1/2 epochs eta 2s", "baseline took 3s", "search 0/9 running 0",
    ]  # fmt: skip


def test_the_log_has_every_line_with_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "pqsearch.log"
    log.write_text("an earlier session\n")
    with Progress(log=log) as progress:
        progress.line("warning: mind the [gap]")
        progress.update(SEARCH)
    first, *lines = log.read_text().splitlines()
    assert first == "an earlier session"
    assert [line.partition(" ")[2] for line in lines] == capsys.readouterr().err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ", line) for line in lines)


def test_quiet_means_the_log_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(log=tmp_path / "log", quiet=True, console=_terminal()) as progress:
        progress.update(SEARCH)
        progress.line("hello")
    assert capsys.readouterr().err == ""
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_terminal_shows_a_table_and_keeps_what_was_said_and_how_a_stage_ended(tmp_path: Path) -> None:
    console, clock = _terminal(), Clock()
    with Progress(log=tmp_path / "log", console=console, clock=clock) as progress:
        progress.update(SEARCH)
        progress.line("warning: mind the [gap]")
        clock.now += 125
        progress.update({**SEARCH, "done": 60, "total": 60})
    printed = _printed(console)
    assert "best plan" in printed
    assert "warning: mind the [gap]" in printed
    assert "search 60/60 running 2 best accuracy 0.953" in printed
    assert "search took 2m" in printed
    logged = [line.partition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert [line[:12] for line in logged] == ["search 12/60", "warning: min", "search 60/60", "search took "]


def test_the_table_says_stage_count_best_rate_and_time_left() -> None:
    text = _rendered(live_table({**SEARCH, "failed": 1, "budgets": {"flops": 0.5}}, seconds=70))
    for words in (
        "search (searching)", "12/60", "candidate 3, accuracy 0.953 ± 0.012", "flops 0.498 of 0.5", "4.1 a minute",
        "70s", "11m",
    ):  # fmt: skip
        assert words in text
    assert re.search(r"failed +1", text)
    assert text.count("━") == 6


def test_the_table_of_a_training_shows_role_loss_and_accuracy() -> None:
    state = {"stage": "finetune", "role": "uniform", "done": 1, "total": 2, "loss": 0.5, "accuracy": 0.9, "images": 100}
    text = _rendered(live_table(state))
    for words in ("uniform", "0.500", "0.900 ± 0.030"):
        assert words in text


def test_an_error_inside_leaves_the_terminal_usable_and_passes_on() -> None:
    console = _terminal()
    with pytest.raises(ZeroDivisionError), Progress(console=console) as progress:
        progress.update(SEARCH)
        raise ZeroDivisionError
    shown, hidden = "\x1b[?25h", "\x1b[?25l"
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.rfind(shown) > text.rfind(hidden) >= 0  # the cursor is back


def test_threads_may_report_at_once(tmp_path: Path) -> None:
    with Progress(log=tmp_path / "log", quiet=True) as progress:
        threads = [
            threading.Thread(target=lambda number=number: [progress.line(f"{number}") for _ in range(50)])
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = [line.partition(" ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(said) == sorted(str(number) for number in range(4) for _ in range(50))


def test_accuracies_that_are_means_of_scores_have_their_own_error() -> None:
    state = {"stage": "baseline", "done": 1, "total": 2, "accuracy": 0.9, "images": 100, "deviation": 0.1}
    assert stage_line(state) == "baseline 1/2 epochs select accuracy 0.900 ± 0.010"
