"""One small run through every stage, on a real Ray, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
import torch

import pqsearch
from pqsearch.cli import main
from pqsearch.plan import Plan
from pqsearch.run_dir import RunDirectory
from pqsearch.study import read_study
from tests.conftest import write_spec
from trainers.measure import measure

ROLES = ("baseline", "baseline_finetuned", "searched", "uniform", "uniform_filled")


def _summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def _started(run: Path) -> list[dict[str, Any]]:
    files = (run / "logs").glob("started-*.jsonl")
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def test_a_run_leaves_every_file_that_is_promised(finished_run: Path) -> None:
    names = (
        "spec.toml", "layers.json", "journal.jsonl", "optuna.log", "baseline.pth", "plan.json", "model.pth",
        "summary.json", "report.html", "logs",
    )  # fmt: skip
    assert {name for name in names if not (finished_run / name).exists()} == set()
    assert list((finished_run / "scratch").iterdir()) == []


def test_the_summary_has_every_role_with_accuracy_error_and_costs(finished_run: Path) -> None:
    summary = _summary(finished_run)
    keys = (
        "test_accuracy", "test_images", "test_standard_error", "macs", "params", "mean_weight_bits", "mean_act_bits",
        "size_bytes",
    )  # fmt: skip
    for role in ROLES:
        for key in keys:
            assert summary[role][key] > 0, (role, key)
        assert summary[role]["test_images"] == 600
    assert summary["evaluations"] == 9
    assert summary["seed"] == 0
    assert summary["budgets"] == {"flops": 0.6, "weight_bits": 4.0, "act_bits": 5.0}
    assert {"baseline", "search", "finetune", "export"} <= summary["seconds"].keys()
    assert summary["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert "searched plan" in summary["verdict"]
    assert summary["differences"]["searched - uniform"]["images"] == 600


def test_the_exported_module_holds_every_budget_as_measured(finished_run: Path) -> None:
    summary = _summary(finished_run)
    found = measure(pqsearch.load(finished_run), (1, 8, 8))
    assert found["macs"] / summary["baseline"]["macs"] <= 0.6
    assert found["weight_bits"] <= 4
    assert found["act_bits"] <= 5
    assert found["size_bytes"] == summary["searched"]["size_bytes"]


def test_a_fresh_process_rebuilds_the_module_without_ray(finished_run: Path) -> None:
    code = (
        f"import sys, torch, pqsearch; module = pqsearch.load({str(finished_run)!r}); "
        "print(tuple(module(torch.zeros(2, 1, 8, 8)).shape), 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 10) False"


def test_evaluate_gives_the_test_accuracy_of_the_summary_exactly(finished_run: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(finished_run)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test_accuracy"] == _summary(finished_run)["searched"]["test_accuracy"]


def test_a_bare_checkpoint_is_evaluated_too(finished_run: Path, tmp_path: Path, capsys: Any) -> None:
    spec = write_spec(tmp_path, model__weights=str(finished_run / "baseline.pth"))
    capsys.readouterr()
    assert main(["evaluate", str(spec)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test_accuracy"] == _summary(finished_run)["baseline"]["test_accuracy"]


def test_trials_are_json_lines_with_the_promised_keys(finished_run: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["trials", str(finished_run), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({row["plan_hash"] for row in rows if row["state"] == "done"}) == 9
    keys = {"id", "genes", "plan_hash", "state", "rung", "values", "costs", "worker", "seconds", "times_evaluated"}
    for row in rows:
        assert keys <= row.keys()
        if row["state"] == "done":
            assert row["times_evaluated"] == 1
            assert len(row["values"]) == 2


def test_every_rung_was_started_once_and_both_workers_took_part(finished_run: Path) -> None:
    rows = _started(finished_run)
    started = [(row["id"], row["rung"], row["repeat"]) for row in rows]
    assert len(started) == len(set(started))
    assert {rung for _, rung, _ in started} == {0, 1}
    assert {row["seat"] for row in rows} == {"worker-0", "worker-1"}


def test_the_optuna_mirror_holds_every_candidate(finished_run: Path) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(finished_run / "optuna.log"))
    study = optuna.load_study(study_name="small", storage=optuna.storages.JournalStorage(backend))
    rows = read_study(finished_run / "journal.jsonl").candidates()
    done = {row["id"]: row for row in rows if row["state"] == "done"}
    assert {trial.user_attrs["id"] for trial in study.trials} == done.keys()
    for trial in study.trials:
        assert trial.value == done[trial.user_attrs["id"]]["measurements"][1]["loss"]
        assert trial.intermediate_values.keys() == {0, 1}


def test_running_again_evaluates_and_trains_nothing(finished_run: Path, capsys: Any) -> None:
    before, model = _started(finished_run), (finished_run / "model.pth").read_bytes()
    seconds = _summary(finished_run)["seconds"]
    assert main(["run", str(finished_run / "spec.toml")]) == 0
    assert _started(finished_run) == before
    assert (finished_run / "model.pth").read_bytes() == model
    assert _summary(finished_run)["seconds"] == seconds
    assert "report" in capsys.readouterr().out


@pytest.mark.usefixtures("warm_ray")
def test_more_evaluations_continue_a_finished_search(finished_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    before = _started(copy)
    overrides = ["--set", f"study.run_dir={copy}", "--set", "study.evaluations=11"]
    assert main(["search", str(finished_run / "spec.toml"), *overrides]) == 0
    assert ray.is_initialized(), "it was there before"
    rows = [row for row in read_study(copy / "journal.jsonl").candidates() if row["state"] == "done"]
    assert len(rows) == 11
    fresh = _started(copy)
    for row in before:
        fresh.remove(row)
    assert {row["id"] for row in fresh if row["repeat"] == 0} == {9, 10}


@pytest.mark.usefixtures("warm_ray")
def test_a_plan_from_anywhere_is_fine_tuned_and_exported(finished_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    overrides = ["--set", f"study.run_dir={copy}"]
    layers = {layer: {"weight_bits": 8, "act_bits": 8} for layer in ("conv1", "linear")}
    plan = {"format": 1, "groups": {}, "layers": layers}
    (tmp_path / "mine.json").write_text(json.dumps(plan))
    path = str(finished_run / "spec.toml")
    assert main(["finetune", path, "--plan", str(tmp_path / "mine.json"), *overrides]) == 0
    # The summary tells of this plan at once, and of no other beside it.
    summary = json.loads((copy / "summary.json").read_text())
    assert summary["searched"]["mean_weight_bits"] > 8 and "uniform" not in summary
    assert main(["export", path, *overrides]) == 0
    assert Plan.from_json(json.loads((copy / "plan.json").read_text())) == Plan.from_json(plan)
    assert measure(pqsearch.load(copy), (1, 8, 8))["weight_bits"] > 8


def test_show_prints_the_results(finished_run: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["show", str(finished_run)]) == 0
    printed = capsys.readouterr().out
    assert all(role in printed for role in ROLES)


def test_check_lists_layers_reach_and_time_and_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["check", str(write_spec(tmp_path, reconstruction={"calibrator": "brecq"})), "--time"]) == 0
    printed = capsys.readouterr().out
    assert "layer1.0.conv1" in printed
    assert "not pruned: its channels are the model's outputs" in printed
    assert "budgets.act_bits" in printed
    assert "whole run: about" in printed
    assert "not in these: reconstruction by brecq" in printed
    assert not (tmp_path / "run").exists()


def test_python_gives_what_the_command_line_gives(finished_run: Path) -> None:
    spec = RunDirectory(finished_run).read_spec()
    assert pqsearch.run(spec)["searched"] == _summary(finished_run)["searched"]


def test_without_a_baseline_there_is_nothing_to_report_and_none_is_trained(tmp_path: Path, capsys: Any) -> None:
    spec = write_spec(tmp_path)
    assert main(["report", str(spec)]) == 2
    said = capsys.readouterr().err
    assert said == f"{tmp_path / 'run'}: has nothing to report yet; `pqsearch run` begins with its baseline\n"
    assert not list(tmp_path.rglob("baseline*"))


def test_the_report_is_one_page_without_network(finished_run: Path) -> None:
    page = (finished_run / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Plotly.newPlot" in page
    body = page[page.rindex("</script>\n</head>") :]
    for tag in ("<script src=", "<link ", "<img ", "@import"):
        assert tag not in body
