"""What the arena's runs come to: medians, the best peer, and how many evaluations match it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from algorithms import Curve, Job
from arena_bars import FLAGSHIP, MATCHED, Medians, against_random, best_peer, flagship, main, namesakes

from arena.contest import Handling


def _curves(
    contender: str,
    value: float,
    handling: Handling = "repair",
    starts: bool = False,
    length: int = 1000,
    seeds: int = 3,
) -> list[Curve]:
    """Runs that fall from 1 to `value` in a straight line over 200 evaluations, seeds a little apart."""
    found = []
    for seed in range(seeds):
        values = np.interp(np.arange(1, length + 1), [1, 200], [1.0, value]) + 0.01 * (seed - 1)
        job = Job("x.py", contender, handling, starts, length, seed)
        found.append(Curve(job, values.tolist(), length, length, 0, 1.0))
    return found


@pytest.fixture
def medians() -> Medians:
    return Medians(
        [
            *_curves(FLAGSHIP, 0.0),
            *_curves("genetic", 0.2),
            *_curves("bee_colony", 0.7),
            *_curves("random_search", 0.6),
            *_curves("mealpy_ga", 0.5),
            *_curves("mealpy_ga", 0.9, "penalty"),
            *_curves("mealpy_ga", 0.1, starts=True),
            *_curves("nevergrad_ngopt", 0.3, length=500),
            *_curves("nevergrad_ngopt", 0.05, length=1000),
        ]
    )


def test_the_best_peer_is_that_of_the_best_arm_and_of_the_number_it_was_told(medians: Medians) -> None:
    assert best_peer(medians, 500, starts=False) == ("nevergrad_ngopt", "repair")
    assert medians.at(("nevergrad_ngopt", "repair"), 500) == pytest.approx(0.3)
    assert medians.at(("nevergrad_ngopt", "repair"), 1000) == pytest.approx(0.05)
    assert best_peer(medians, 500, starts=True) == ("mealpy_ga", "repair, starts")


def test_the_default_is_asked_when_it_is_as_good(medians: Medians) -> None:
    plain, started = flagship(medians)
    # It is at 0.3 after 0.7 of its 200 evaluations, and at 0.1 after 0.9 of them.
    assert plain.value == pytest.approx(141, abs=1)
    assert plain.met and plain.bar == pytest.approx(MATCHED / 3)
    assert started.value == pytest.approx(181, abs=1)
    assert started.met and started.bar == MATCHED / 2


def test_namesakes_are_compared_with_and_without_starts(medians: Medians) -> None:
    rows = {row.name: row for row in namesakes(medians)}
    without = rows["genetic - mealpy_ga, 1000 evaluations (n=3)"]
    assert (round(without.value, 6), without.met) == (-0.3, True)
    started = rows["genetic - mealpy_ga with our starts, 1000 evaluations (n=3)"]
    assert (round(started.value, 6), started.met) == (0.1, False)


def test_who_loses_to_random_search_is_shown(medians: Medians) -> None:
    rows = {row.name: row.met for row in against_random(medians)}
    assert rows["genetic - random_search, 300 evaluations (n=3)"]
    assert not rows["bee_colony - random_search, 300 evaluations (n=3)"]


def test_the_command_fails_where_a_bar_is_not_met(
    medians: Medians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.jsonl"
    curves = [*_curves(FLAGSHIP, 0.0), *_curves("random_search", 0.6), *_curves("genetic", 0.7)]
    kept.write_text("".join(json.dumps(asdict(curve)) + "\n" for curve in curves))
    monkeypatch.setattr("sys.argv", ["arena_bars.py", str(kept)])
    assert main() == 1
    assert "NOT MET" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["arena_bars.py", str(kept), "--seeds", "0", "0"])
    assert main() == 1
    assert "(n=1)" in capsys.readouterr().out


def test_shorter_runs_are_compared_where_they_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = [*_curves(FLAGSHIP, 0.0, length=500), *_curves("random_search", 0.6, length=500)]
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(json.dumps(asdict(curve)) + "\n" for curve in curves))
    monkeypatch.setattr("sys.argv", ["arena_bars.py", str(kept), "--evaluations", "100", "500"])
    assert main() == 0
    told = capsys.readouterr().out
    assert "random_search, 500 evaluations (n=3)" in told and "1000" not in told
