"""Evaluations packed into a file, and the landscape that is fitted to it."""

from __future__ import annotations

import gzip
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from landscape import DEAD, FILE, Fit, landscape, read, read_all
from scipy.stats import kendalltau

from pqsearch.study import read_study

PACK = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "truth" / "pack.py"


def test_a_run_is_packed_with_every_measurement_and_without_paths(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "packed.json.gz"
    monkeypatch.setattr(sys, "argv", ["pack.py", str(finished_run), str(file), "--prior", str(finished_run)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PACK), run_name="__main__")
    assert ended.value.code == 0
    text = gzip.decompress(file.read_bytes()).decode()
    assert str(finished_run) not in text
    packed = json.loads(text)
    state = read_study(finished_run / "journal.jsonl")
    rows = [row for row in state.candidates() if row["state"] == "done"]
    assert packed["genes"] == ["".join(map(str, row["genes"])) for row in rows]
    assert [len(losses) for losses in packed["loss"]] == [len(state.last_rung(row["id"])) for row in rows]
    assert max(map(len, packed["loss"])) == 2
    assert len(packed["prior"]) == len(packed["genes"][0])


def test_the_measured_plans_are_plans_of_the_space_they_were_measured_in() -> None:
    measured = read(FILE)
    assert (measured.genes < np.asarray(measured.space.levels)).all()
    assert (measured.space.costs(measured.genes) <= measured.space.limits * (1 + 1e-9)).all()
    assert measured.space.prior is not None
    assert len(measured.pairs) >= 100
    good, bad = measured.noise(np.quantile(measured.values, [0.1, 0.9]))
    assert 0 < good < bad


def test_a_fit_ranks_plans_that_it_has_not_seen() -> None:
    measured = read(FILE)
    fit = Fit(np.asarray(measured.space.levels), measured.genes[::2], measured.values[::2])
    assert kendalltau(fit(measured.genes[1::2]), measured.values[1::2]).statistic > 0.7


def test_values_have_the_measured_noise_and_the_truth_has_none() -> None:
    measured = read(FILE)
    _, score, truth = landscape(FILE)
    plan = np.tile(measured.genes[:1], (400, 1))
    rng = np.random.default_rng(0)
    assert np.std(score(plan, rng)) == pytest.approx(measured.noise(truth(plan[:1]))[0], rel=0.2)
    assert np.ptp(truth(plan)) == pytest.approx(0, abs=1e-12)


def test_accuracies_make_a_landscape_of_their_own_in_shares_of_all_answers() -> None:
    measured = read(FILE, "accuracy")
    assert ((measured.values > 0) & (measured.values < DEAD["accuracy"])).all()
    by_loss = read(FILE)
    assert len(measured.values) + len(measured.dead) == len(by_loss.values)
    kept = set(map(tuple, measured.genes.tolist()))
    alive = [tuple(genes) in kept for genes in by_loss.genes.tolist()]
    assert kendalltau(measured.values, by_loss.values[alive]).statistic > 0.8


def test_networks_of_bad_plans_die_now_and_then_and_those_of_good_ones_do_not() -> None:
    measured = read(FILE, "accuracy")
    _, score, truth = landscape(FILE, measure="accuracy")
    ranked = measured.genes[np.argsort(truth(measured.genes))]
    good, bad = (
        score(plans, np.random.default_rng(0))
        for plans in (np.tile(ranked[:20], (50, 1)), np.tile(ranked[-20:], (50, 1)))
    )
    assert (good < DEAD["accuracy"]).all()
    assert 0.01 < (bad == measured.died).mean() < 0.2


def test_a_landscape_of_several_files_knows_the_plans_of_all() -> None:
    searched = FILE.with_name("searched.json.gz")
    both, first, second = read_all([FILE, searched]), read(FILE), read(searched)
    assert len(both.values) == len(first.values) + len(second.values)
    assert len(both.pairs) == len(first.pairs) + len(second.pairs)
    assert both.space.levels == second.space.levels
    alone, together = landscape(FILE)[2], landscape(FILE, searched)[2]
    errors = [np.mean((truth(second.genes) - second.values) ** 2) for truth in (alone, together)]
    assert errors[1] < errors[0] / 2, "where searches went it knew little before"
