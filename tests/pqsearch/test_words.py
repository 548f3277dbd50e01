"""What is printed and written for people: tables, progress lines, the verdict, the spec's documentation."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.cli import main, parser
from pqsearch.console import Progress, duration, search_line
from pqsearch.report.correlation import rung_correlations
from pqsearch.report.verdict import paired_difference, verdict
from pqsearch.spec import load_spec, parse_spec
from pqsearch.spec_docs import commented_spec, spec_markdown
from pqsearch.tables import rooms_table

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_documentation_of_the_spec_is_current() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == spec_markdown(), "run `make docs`"


def test_the_commented_spec_is_a_valid_one_and_names_every_section(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    assert main(["init", str(path)]) == 0
    text = path.read_text()
    assert text == commented_spec()
    assert load_spec(path).study.evaluations == 60
    for section in ("study", "data", "model", "baseline", "space", "budgets", "algorithm", "finetune", "workers"):
        assert f"[{section}]" in text


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_spec(path: Path) -> None:
    overrides = ["data.root=images", "model.weights=weights.pth"] if path.stem.startswith("cifar10") else []
    assert load_spec(path, overrides).study.name == path.stem


def test_the_readme_shows_the_example_as_it_is() -> None:
    example = (ROOT / "examples" / "your_model.toml").read_text()
    lines = [line for line in example.splitlines() if not line.startswith("#")]
    assert "\n".join(lines) in (ROOT / "README.md").read_text()


def test_a_spec_written_back_reads_the_same() -> None:
    spec = load_spec(ROOT / "examples" / "digits.toml")
    assert parse_spec(tomllib.loads(spec.to_toml())) == spec


def test_overrides_reach_lists_and_take_bare_words() -> None:
    spec = load_spec(
        ROOT / "examples" / "digits.toml",
        ["rungs[0].steps=7", 'study.objectives=["loss"]', "budgets.flops=0.4"],
    )
    assert (spec.rungs[0].steps, spec.study.score, spec.budgets["flops"]) == (7, "loss", 0.4)


def test_every_command_has_help_with_an_example() -> None:
    commands = next(action for action in parser()._actions if hasattr(action, "choices") and action.choices)
    for name, command in commands.choices.items():  # type: ignore[union-attr]
        assert f"example: pqsearch {name}" in command.format_help(), name


@pytest.mark.parametrize("room", rooms.ROOMS)
def test_every_room_lists_its_files_with_a_line_of_meaning(room: str) -> None:
    text = rooms_table(room)
    for name in rooms.names(room):
        assert f"{name}: " in text
        assert len(rooms.describe(room, name)) > 10
        for option in rooms.signature(room, name):
            assert option.doc or option.choices, f"{room}.{name}.{option.name} says nothing"


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "pqsearch", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pqsearch 0.")


def test_listing_needs_neither_torch_nor_ray() -> None:
    code = "import sys\nfrom pqsearch.cli import main\nmain(['list', 'models'])\nprint({'torch', 'ray'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_a_paired_error_counts_only_images_that_differ() -> None:
    a = np.array([True] * 90 + [True] * 6 + [False] * 2 + [False] * 2)
    b = np.array([True] * 90 + [False] * 6 + [True] * 2 + [False] * 2)
    found = paired_difference(a, b)
    assert found["value"] == pytest.approx(0.04)
    assert found["standard_error"] == pytest.approx(np.std([1] * 6 + [-1] * 2 + [0] * 92, ddof=1) / 10)
    assert paired_difference(a, a)["standard_error"] == 0


def _summary(gain: float, error: float) -> dict[str, Any]:
    role = {"test_accuracy": 0.9, "flops": 0.5, "params_ratio": 0.4, "mean_weight_bits": 4.0, "mean_act_bits": 4.0}
    difference = {"value": gain, "standard_error": error, "images": 1000}
    return {
        "searched": dict(role), "uniform": {**role, "test_accuracy": 0.88}, "uniform_filled": {**role, "test_accuracy": 0.89},
        "budgets": {"flops": 0.5, "weight_bits": 4.0}, "proxy_noise": None,
        "differences": {f"searched - {other}": difference for other in ("uniform", "uniform_filled", "baseline")},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "error", "words"),
    [
        (0.02, 0.005, "Ship the searched plan: over the uniform plan with its slack filled"),
        (0.005, 0.005, "Use the uniform plan with its slack filled: the searched plan gains 0.50 ± 0.50 points"),
        (-0.02, 0.005, "Use the uniform plan with its slack filled: against it the searched plan loses 2.00"),
    ],
)
def test_the_verdict_weighs_the_difference_against_its_error(gain: float, error: float, words: str) -> None:
    text = verdict(_summary(gain, error))
    assert text.startswith(words)
    assert "holds every budget" in text


def test_the_verdict_says_when_the_winner_is_a_uniform_plan() -> None:
    summary = _summary(0.0, 0.0)
    summary["searched"]["plan_hash"] = summary["uniform"]["plan_hash"] = "abc"
    assert verdict(summary).startswith("Use the uniform plan: the search found nothing better")


def test_the_verdict_says_which_budget_is_broken() -> None:
    summary = _summary(0.02, 0.005)
    summary["searched"]["mean_weight_bits"] = 4.2
    assert "It breaks its budgets: weight_bits 4.2 > 4." in verdict(summary)


def test_rung_correlation_needs_eight_plans() -> None:
    def rows(number: int) -> list[dict[str, Any]]:
        at = [[{"rung": rung, "repeat": 0, "accuracy": value / 10} for rung in (0, 1)] for value in range(number)]
        return [{"measurements": entries} for entries in at]

    assert rung_correlations(rows(8), 2)[0]["tau"] == pytest.approx(1)
    assert rung_correlations(rows(7), 2)[0]["tau"] is None


STATE = {
    "stage": "search", "phase": "searching", "done": 12, "total": 60, "running": 2, "failed": 0, "rate": 0.1, "eta_seconds": 480,
    "best": {"id": 3, "accuracy": 0.953, "images": 300, "costs": {"flops": 0.498, "weight_bits": 3.99, "act_bits": 4.0}},
}  # fmt: skip


def test_a_line_of_progress_says_stage_count_best_rate_and_time_left() -> None:
    line = search_line(STATE)
    for words in ("search 12/60", "running 2", "0.953 ± 0.012", "flops 0.498", "6.0/min", "eta 8m"):
        assert words in line


def test_in_a_pipe_progress_is_plain_lines_and_in_the_log_they_have_times(tmp_path: Path, capsys: Any) -> None:
    with Progress(log=tmp_path / "log") as progress:
        progress.update(STATE)
        progress.update({**STATE, "done": 13})
        progress.update({"stage": "finetune", "role": "uniform", "done": 3, "total": 3, "accuracy": 0.9, "images": 100})
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].startswith("search 12/60")
    assert printed[-1] == "finetune 3/3 epochs uniform select accuracy 0.900 ± 0.030"
    logged = (tmp_path / "log").read_text().splitlines()
    assert len(logged) == len(printed)
    assert logged[0][4] == "-" and logged[0].endswith(printed[0])


def test_durations_are_short() -> None:
    assert [duration(seconds) for seconds in (45, 720, 11100)] == ["45s", "12m", "3h05m"]


def test_a_foreign_package_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "trainers" / "models").mkdir(parents=True)
    for path in ("trainers/__init__.py", "trainers/models/__init__.py"):
        (tmp_path / path).write_text("")
    (tmp_path / "trainers" / "models" / "digits_net.py").write_text("build = 1")
    code = (
        "import pqsearch.rooms\nfrom pqsearch.errors import UserError\n"
        "try:\n    pqsearch.rooms.load('models', 'digits_net')\nexcept UserError as error:\n    print(error)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert "hides pqsearch's own" in found.stdout
    assert str(tmp_path) in found.stdout


def test_trials_lines_are_json(finished_run: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["trials", str(finished_run), "--json"]) == 0
    assert all(isinstance(json.loads(line), dict) for line in capsys.readouterr().out.splitlines())
