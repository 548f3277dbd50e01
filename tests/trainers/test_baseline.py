from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pqsearch.errors import UserError
from tests.trainers.small import CPU, same_weights, small_data, small_spec
from trainers import files, under_way
from trainers.baseline import initial_model, train_baseline


class Killed(Exception):
    pass


def _train(folder: Path, kill_after: int | None = None, parts: bool = False, **sections: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []

    def progress(state: dict[str, Any]) -> None:
        if parts or state["done"] == int(state["done"]):
            told.append(state)
        if state["done"] == kill_after:
            raise Killed

    spec = small_spec(**sections)
    folder.mkdir(exist_ok=True)
    train_baseline(spec, *small_data(spec), folder, CPU, progress)
    return told


def test_training_reports_every_epoch_and_leaves_weights_only(tmp_path: Path) -> None:
    begun, *told = _train(tmp_path / "run")
    assert begun == {"done": 0, "total": 2}
    assert [(state["done"], state["total"], state["images"]) for state in told] == [(1, 2, 60), (2, 2, 60)]
    assert told[1]["loss"] < told[0]["loss"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["baseline.pth"]


def test_how_far_an_epoch_is_is_told_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "SECONDS", 0.0)
    told = _train(tmp_path / "run", parts=True)
    done = [state["done"] for state in told]
    assert done == sorted(done)
    for epoch in range(2):
        assert len({share for share in done if epoch < share < epoch + 1}) > 2
    assert all(state["loss"] == told[-2]["loss"] for state in told if 1 <= state["done"] < 2)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_killed_training_goes_on_to_the_same_weights_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    section = {"epochs": 3, "lr": 0.01, "optimizer": optimizer}
    _train(tmp_path / "whole", baseline=section)
    for epoch in (1, 2):
        with pytest.raises(Killed):
            _train(tmp_path / "killed", kill_after=epoch, baseline=section)
    told = _train(tmp_path / "killed", baseline=section)
    assert [state["done"] for state in told] == [2, 3]
    whole, killed = (files.load(tmp_path / name / "baseline.pth") for name in ("whole", "killed"))
    assert same_weights(whole, killed)


def test_finished_weights_are_not_trained_again(tmp_path: Path) -> None:
    _train(tmp_path / "run")
    before = (tmp_path / "run" / "baseline.pth").read_bytes()
    assert _train(tmp_path / "run") == []
    assert (tmp_path / "run" / "baseline.pth").read_bytes() == before


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _train(tmp_path / name, study={"seed": seed}, baseline={"epochs": 1})
    a, b, c = (files.load(tmp_path / name / "baseline.pth") for name in "abc")
    assert same_weights(a, b)
    assert not same_weights(a, c)


def test_weights_from_outside_without_epochs_are_taken_as_they_are(tmp_path: Path) -> None:
    spec = small_spec(study={"seed": 8})
    state = initial_model(spec, small_data(spec)[0]).state_dict()
    torch.save(state, tmp_path / "own.pth")
    model = {"weights": str(tmp_path / "own.pth")}
    assert _train(tmp_path / "run", model=model, baseline={"epochs": 0}) == []
    assert same_weights(files.load(tmp_path / "run" / "baseline.pth"), state)


def test_nothing_to_train_and_nothing_to_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^baseline\.epochs: "):
        _train(tmp_path / "run", baseline={"epochs": 0})


def test_a_rate_that_is_too_high_is_named_with_its_epoch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^baseline\.lr: .*epoch 1.*got 1e\+30; lower it"):
        _train(tmp_path / "run", baseline={"lr": 1e30, "warmup_epochs": 0})
    assert not (tmp_path / "run" / "baseline.pth").exists()
