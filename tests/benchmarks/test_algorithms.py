"""The command of `benchmarks/algorithms.py`: which runs it makes, what it keeps, and what it says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from algorithms import Curve, Job, jobs, main, options_of, read, table, text

from arena.contest import Handling

LANDSCAPE = str(Path(__file__).parent / "standin.py")


def _main(*arguments: str, seeds: int = 2, workers: int = 1) -> int:
    common = ["--landscape", LANDSCAPE, "--seeds", str(seeds), "--workers", str(workers), "--evaluations", "5", "12"]
    return main([*common, *arguments])


def _curve(contender: str, values: list[float | None], seed: int = 0, handling: Handling = "repair") -> Curve:
    return Curve(Job("x.py", contender, handling, False, len(values), seed), values, len(values), len(values), 0, 0.1)


def test_ours_run_once_to_the_largest_number_and_are_read_off_at_every_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    assert _main("--only", "genetic", "random_search", "--json", str(out)) == 0
    found = json.loads(out.read_text())
    assert [(curve["job"]["contender"], curve["job"]["evaluations"]) for curve in found["curves"]] == [
        ("genetic", 12),
        ("random_search", 12),
    ] * 2
    assert sorted((row["contender"], row["evaluations"], row["seeds"]) for row in found["rows"]) == [
        ("genetic", 5, 2),
        ("genetic", 12, 2),
        ("random_search", 5, 2),
        ("random_search", 12, 2),
    ]
    assert capsys.readouterr().out.count("\n") == 4


def test_peers_run_in_each_arm_and_for_each_number_of_evaluations_that_they_are_told() -> None:
    arms = ("repair", "penalty", "repair, starts")
    only = ["optuna_tpe", "optuna_gp", "nevergrad_ngopt", "genetic"]
    options = ["--landscape", "x.py", "--only", *only, "--seeds", "7"]
    found = jobs(options_of([*options, "--evaluations", "100", "1000", "--starts"]))
    runs = {
        name: [(job.evaluations, job.arm) for job in found if job.contender == name and not job.seed] for name in only
    }
    assert runs["genetic"] == [(1000, "ours")]
    assert runs["optuna_tpe"] == [(1000, arm) for arm in arms]
    assert runs["optuna_gp"] == [(100, arm) for arm in arms]
    assert runs["nevergrad_ngopt"] == [(number, arm) for number in (100, 1000) for arm in arms]
    assert {job.seed for job in found if job.contender == "optuna_gp"} == set(range(5))
    assert {job.seed for job in found if job.contender == "optuna_tpe"} == set(range(7))


def test_a_run_is_read_off_only_as_far_as_it_went() -> None:
    short = _curve("optuna_gp", [0.5] * 5)
    told = _curve("nevergrad_ngopt", [0.4] * 12)
    assert [(row["contender"], row["evaluations"]) for row in table([short, told], [5, 12])] == [
        ("optuna_gp", 5),
        ("nevergrad_ngopt", 12),
    ]


def test_finished_runs_are_kept_and_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = tmp_path / "kept.jsonl"
    _main("--only", "genetic", "--keep", str(keep), seeds=1)
    first = keep.read_text()
    with keep.open("a") as file:
        file.write(first[: len(first) // 2])  # cut off while writing
    _main("--only", "genetic", "--keep", str(keep))
    assert "2 runs, 1 of them kept" in capsys.readouterr().err
    assert [curve.job.seed for curve in read(keep)] == [0, 1]
    assert keep.read_text().startswith(first)


def test_processes_give_what_one_does(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    _main("--only", "random_search", "--json", str(alone))
    _main("--only", "random_search", "--json", str(together), workers=2)
    first, second = (json.loads(path.read_text()) for path in (alone, together))
    assert first["rows"] == second["rows"]
    assert [curve["values"] for curve in first["curves"]] == [curve["values"] for curve in second["curves"]]


def test_measured_seconds_bring_in_many_in_flight(tmp_path: Path) -> None:
    seconds, out = tmp_path / "measured.json.gz", tmp_path / "found.json"
    seconds.write_bytes(gzip.compress(json.dumps({"seconds": [[1.0], [2.5, 2.7]]}).encode()))
    assert _main("--only", "genetic@16", "--seconds", str(seconds), "--json", str(out), seeds=1) == 0
    assert {row["arm"] for row in json.loads(out.read_text())["rows"]} == {"ours"}


def test_an_unknown_contender_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _main("--only", "pymoo_gaa")
    assert "unknown contender 'pymoo_gaa', did you mean 'pymoo_ga'?" in capsys.readouterr().err


def test_the_table_has_medians_and_quartiles_and_puts_the_best_first() -> None:
    curves = [_curve("pymoo_ga", [0.9, 0.1 * seed], seed) for seed in range(5)]
    curves += [_curve("mealpy_ga", [None, None], seed) for seed in range(5)]
    first, last = table(curves, [2])
    assert (first["contender"], first["seeds"]) == ("pymoo_ga", 5)
    assert [first[key] for key in ("low", "median", "high")] == pytest.approx([0.1, 0.2, 0.3])
    assert last["median"] is None
    assert "none" in text([last])
