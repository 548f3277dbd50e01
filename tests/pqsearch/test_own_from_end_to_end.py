"""A run in which network, output, loss and metric are the user's, through every stage; evaluated in this process, without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import pqsearch
from pqsearch.finetunes import _finetune
from pqsearch.local import run_locally
from pqsearch.open_study import open_study
from pqsearch.pipeline import opened
from pqsearch.study import read_study
from pqsearch.tune.worker import _context
from tests.conftest import write_spec
from tests.own_modules import own_modules
from trainers.proxy import evaluate

MINE = """
from torch import nn
from torch.nn import functional

def brier(outputs, labels, *, scale):
    wanted = functional.one_hot(labels, outputs.shape[1])
    return scale * (outputs.softmax(1) - wanted).square().sum(1).mean()

def sureness(outputs, labels):
    return outputs.softmax(1).gather(1, labels[:, None])[:, 0]

class Two(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(12, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.main, self.side = nn.Linear(16, classes), nn.Linear(12, 3)

    def forward(self, images):
        x = self.stem(images)
        return {"main": self.main(self.body(x).mean((2, 3))), "side": self.side(x.mean((2, 3)))}

def make(classes):
    return Two(classes)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with own_modules(tmp_path, mine=MINE) as found:
        yield found


def test_a_run_of_ones_own_is_searched_fine_tuned_exported_and_reported(folder: Path) -> None:
    path = write_spec(
        folder,
        study__evaluations=24, study__objectives=["accuracy"], study__confirm=0, baseline__epochs=3,
        model={"name": "mine:make", "output": "main"},
        task={"loss": "mine:brier", "loss_options": {"scale": 0.5}, "metric": "mine:sureness"},
        budgets={}, target={"max_drop": 20.0, "minimize": "flops"}, finetune__compare=False,
        rungs=[{"kind": "fine_tune", "steps": 4, "batch_size": 32, "images": 64}],
    )  # fmt: skip
    with opened(path, quiet=True) as pipeline:
        pipeline.baseline()
        spec, run = pipeline.spec, pipeline.run
        assert [layer.name for layer in pipeline.prepared.info.layers] == ["stem.0", "body.0", "main"]
        run.write(run.layers, pipeline.prepared.info.to_json())
        context = _context({"spec": spec.to_dict(), "run_dir": str(run.path)})
        study = open_study(spec, run, pipeline.prepared.info, "digest")
        run_locally(study.study, lambda item: evaluate(context, item))
        study.close()
        state = read_study(run.journal)
        assert state.finished and not state.counts["failed"]
        best = state.best()
        assert best is not None and 0 < best["deviation"] < 0.5 and "squares" in best["measurements"][-1]
        for job in pipeline._jobs():
            _finetune(spec.to_dict(), run.where, job.role, job.plan.to_json() if job.plan else None)
        pipeline.finetune()
        pipeline.export()
        pipeline.report()
    summary = json.loads(run.summary.read_text())
    assert summary["task"] == {"loss": "mine:brier", "metric": "mine:sureness"}
    assert "mean score of mine:sureness over images" in run.report.read_text()
    found, scores = summary["searched"], np.load(next((run.path / "checkpoints").rglob("plan*/**/correct.npy")))
    assert found["test_accuracy"] == pytest.approx(scores.mean())
    assert found["test_standard_error"] == pytest.approx(scores.std() / len(scores) ** 0.5)
    assert found["macs"] < summary["baseline"]["macs"]
    module = pqsearch.load(run.path)
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert json.loads(run.plan.read_text())["model"]["output"] == "main"
