"""A full fine-tune whose run directory is in a store goes on where it was, on whatever machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pqsearch import finetunes
from pqsearch.finetunes import BASELINE, Job
from pqsearch.plan import Plan
from pqsearch.prepare import load_data
from pqsearch.run_dir import RunDirectory, write_atomically
from pqsearch.spec import Spec, parse_spec
from pqsearch.store import Store
from tests.conftest import small_spec
from tests.s3 import Bucket
from trainers import files
from trainers.baseline import initial_model

FOLDER = f"checkpoints/baseline-{BASELINE}"


@pytest.fixture
def spec(s3_bucket: Bucket, tmp_path: Path) -> Spec:
    """One of a run in a store, where a baseline lies already."""
    found = parse_spec(small_spec(study__run_dir=s3_bucket.url(), finetune={"epochs": 3, "lr": 0.05, "batch_size": 64}))
    driver = Store(s3_bucket.url(), tmp_path / "driver")
    files.save(initial_model(found, load_data(found)[0]).state_dict(), driver.folder / "baseline.pth")
    driver.push()
    return found


def _finetune(spec: Spec) -> dict[str, object]:
    return finetunes._finetune(spec.to_dict(), spec.run_dir, "baseline_finetuned", None)


def test_a_training_that_is_cut_off_goes_on_on_another_machine_to_the_same_weights(
    spec: Spec, s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetunes, "PUSH_SECONDS", 0.0)

    def cut_off(path: Path, content: str) -> None:
        if json.loads(content)["done"] == 2:
            raise KeyboardInterrupt
        write_atomically(path, content)

    with monkeypatch.context() as here:
        here.setattr(finetunes, "write_atomically", cut_off)
        with pytest.raises(KeyboardInterrupt):
            _finetune(spec)
    assert {f"{FOLDER}/checkpoint.pth", f"{FOLDER}/progress.json"} <= s3_bucket.objects().keys()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    begun: list[int] = []

    def listen(path: Path, content: str) -> None:
        begun.append(json.loads(content)["done"])
        write_atomically(path, content)

    monkeypatch.setattr(finetunes, "write_atomically", listen)
    result = _finetune(spec)
    assert begun[0] == 1, "the epoch that was taken to the store is not trained again"
    found = s3_bucket.objects()
    assert json.loads(found[f"{FOLDER}/result.json"]) == result
    assert f"{FOLDER}/checkpoint.pth" not in found

    run = RunDirectory(spec.run_dir)
    for name in list(found):
        if name.startswith(FOLDER):
            run.remove(run.path / name)
    unbroken = _finetune(spec)
    assert begun[-4:] == [0, 1, 2, 3]
    assert s3_bucket.objects()[f"{FOLDER}/weights.pth"] == found[f"{FOLDER}/weights.pth"]
    assert {**unbroken, "seconds": 0} == {**result, "seconds": 0}


def test_a_finished_one_is_not_trained_again_by_another_machine(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _finetune(spec)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert _finetune(spec) == result
    run = RunDirectory(spec.run_dir)
    assert (Job("baseline_finetuned", None).folder(run) / "weights.pth").is_file()


def test_what_a_training_has_made_waits_for_a_store_that_is_away(
    spec: Spec, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(spec.run_dir)
    run.bring()
    run.write(run.path / FOLDER / "result.json", {})
    s3_bucket.server.ask_for_keys(True)
    monkeypatch.setattr(finetunes.time, "sleep", lambda seconds: s3_bucket.server.ask_for_keys(False))
    assert run.store is not None
    finetunes.hand_in(run.store, f"{FOLDER}/")
    assert f"{FOLDER}/result.json" in s3_bucket.objects()


@pytest.mark.parametrize(
    ("epochs", "seen", "told"),
    [
        (0, {"done": 0, "reconstructed": [11, 22]}, {"done": 1.5, "total": 2, "unit": "plans"}),
        (0, {"done": 0, "accuracy": 0.9}, {"done": 2, "total": 2, "unit": "plans"}),
        (4, {"done": 3}, {"done": 7, "total": 8}),
    ],
)
def test_what_is_only_reconstructed_is_counted_by_plans_and_their_blocks(
    tmp_path: Path, epochs: int, seen: dict[str, Any], told: dict[str, Any]
) -> None:
    run = RunDirectory(tmp_path)
    done, under_way = Job("searched", Plan({"conv1": 0.5}, {})), Job("uniform", Plan({"conv1": 0.2}, {}))
    run.write(under_way.folder(run) / "progress.json", seen)
    states: list[dict[str, Any]] = []
    finetunes._tell(states.append, run, [done, under_way], {under_way.role}, 1, epochs)
    assert states == [{**seen, "role": "uniform", "stage": "finetune", "running": 1, **told}]
