"""`pqsearch runs` and `pqsearch compare`, on real runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pqsearch.cli import main


@pytest.fixture(scope="module")
def runs(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, one that has only begun, and one whose spec is damaged, in a folder that holds more."""
    root = tmp_path_factory.mktemp("runs")
    shutil.copytree(finished_run, root / "whole")
    (root / "deep" / "begun" / "logs").mkdir(parents=True)
    shutil.copy(finished_run / "spec.toml", root / "deep" / "begun" / "spec.toml")
    (root / "odd" / "logs").mkdir(parents=True)
    (root / "odd" / "spec.toml").write_text("study = 7\n")
    (root / "notes").mkdir()
    return root


def test_runs_are_listed_wherever_they_are_and_one_that_cannot_be_read_stops_nobody(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(runs), "--json"]) == 0
    found = {row["run"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found.keys() == {"whole", "deep/begun", "odd"}
    whole = found["whole"]
    summary = json.loads((runs / "whole" / "summary.json").read_text())
    assert whole["state"] == "finished" and whole["trouble"] is None
    assert whole["test_accuracy"] == summary["searched"]["test_accuracy"]
    assert 0 < whole["done"] <= whole["evaluations"] and 0 < whole["best"] <= 1
    assert found["deep/begun"]["state"] == "begun" and found["deep/begun"]["done"] == 0
    assert found["odd"]["trouble"].startswith("study: ")
    assert main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["run", "state", "model"] and len(lines) == 4
    assert any(line.startswith("odd") and "unreadable" in line for line in lines)


def test_a_run_is_a_folder_of_runs_too(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs / "whole"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "."


def test_no_runs_and_no_folder_are_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"no runs under {tmp_path}")
    assert main(["runs", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: is not a folder; give the one that runs are in\n"


def test_plans_are_compared_where_they_differ(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = json.loads((runs / "whole" / "plan.json").read_text())
    layer = next(iter(plan["layers"]))
    plan["layers"][layer]["weight_bits"] = 7
    other = tmp_path / "other.json"
    other.write_text(json.dumps(plan))
    picture = tmp_path / "beside.html"
    assert main(["compare", str(runs / "whole"), str(other), "--out", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    differing = [line.split() for line in lines if line.startswith(f"{layer} ")]
    assert [row[-1] for row in differing] == ["7"]
    assert any(line.startswith("test accuracy %") for line in lines)
    assert lines[-2].endswith("knobs are the same in all (--all shows them)")
    assert layer in picture.read_text()
    assert main(["compare", str(runs / "whole"), str(other), "--out", str(other / "a.html")]) == 2
    assert capsys.readouterr().err.startswith(f"--out {other}/a.html: cannot be written")
    assert main(["compare", str(runs / "whole"), str(other), "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > len(lines)


def test_what_cannot_be_compared_is_said_so(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = str(runs / "whole")
    plan = json.loads((runs / "whole" / "plan.json").read_text())
    first = next(iter(plan["layers"]))
    plan["layers"]["elsewhere"] = plan["layers"].pop(first)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(plan))

    def refused(*words: str) -> str:
        assert main(["compare", *words]) == 2
        return capsys.readouterr().err

    assert refused(whole) == f"{whole}: is one plan; give two or more to compare\n"
    assert refused(whole, str(other)) == (
        f"{other}: is of another network than {whole}: only {whole} has the layer {first}\n"
    )
    assert "has no plan.json yet" in refused(whole, str(runs / "deep" / "begun"))
    assert "give one of the plans as its run directory" in refused(
        str(other), str(other), "--out", str(tmp_path / "beside.html")
    )
