"""A model and data that a program holds in memory, through a whole run on a real Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pqsearch
from pqsearch.errors import UserError
from tests.conftest import small_spec
from tests.own_modules import own_modules
from trainers.datasets import digits

TASK = """
from torch.nn import functional

def brier(outputs, labels, *, scale=1.0):
    wanted = functional.one_hot(labels, outputs.shape[1])
    return scale * (outputs.softmax(1) - wanted).square().sum(1).mean()

def sureness(outputs, labels):
    return outputs.softmax(1).gather(1, labels[:, None])[:, 0]
"""


class Net(nn.Module):
    """Whoever loads the result has no need of it."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, wide, 3, 2, 1), nn.BatchNorm2d(wide), nn.ReLU())
        self.more = nn.Sequential(nn.Conv2d(wide, wide, 3, 1, 1), nn.BatchNorm2d(wide), nn.ReLU())
        self.head = nn.Linear(wide, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.body(images)
        return self.head((x + self.more(x)).mean((2, 3)))


def _spec(folder: Path, **changes: Any) -> dict[str, Any]:
    spec = small_spec(
        study__run_dir=str(folder / "run"), study__evaluations=5, baseline__epochs=0, finetune__epochs=1,
        finetune__compare=False, space__prune_rate=[0.0, 0.5], budgets={"weight_bits": 4.0}, **changes,
    )  # fmt: skip
    del spec["model"], spec["data"]["name"]
    return spec


def _data() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """As floats from 0 to 1, the way `ToTensor` makes them: the network was trained on these."""
    found = digits.load(None, None)
    return (
        (torch.from_numpy(found.train_images).float() / 255, found.train_labels),
        (torch.from_numpy(found.test_images).float() / 255, found.test_labels),
    )


def _trained(images: torch.Tensor, labels: Any) -> Net:
    torch.manual_seed(0)
    model, target = Net(12), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), target).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_what_is_in_memory_is_searched_and_the_result_needs_nothing_of_the_program(tmp_path: Path) -> None:
    train, test = _data()
    model = _trained(*train)
    with own_modules(tmp_path, mytask=TASK):
        sys.path.insert(0, str(tmp_path))
        import mytask  # type: ignore[import-not-found]

        spec = _spec(tmp_path, task={"loss_options": {"scale": 2.0}})
        summary = pqsearch.compress(model, train, test, spec, loss=mytask.brier, metric=mytask.sureness)
        again = pqsearch.compress(model, train, test, spec, loss=mytask.brier, metric=mytask.sureness)
        assert again == summary, "it was there"
        with torch.no_grad():
            model.head.bias += 1
        with pytest.raises(UserError, match=r"model\.weights: the run in .* use that value or another study\.run_dir"):
            pqsearch.compress(model, train, test, spec, loss=mytask.brier, metric=mytask.sureness)
        with torch.no_grad():
            model.head.bias -= 1
    # The baseline is the network as it was given, on the images as it was given them, by the metric that was given.
    with torch.no_grad():
        sure = model(test[0]).softmax(1)[torch.arange(len(test[1])), torch.from_numpy(test[1])]
    assert summary["baseline"]["test_accuracy"] == pytest.approx(float(sure.mean()), abs=1e-6)
    run = tmp_path / "run"
    assert json.loads((run / "plan.json").read_text())["normalization"] == {"mean": [0.0], "std": [1.0]}
    code = (
        f"import sys, torch, pqsearch; module = pqsearch.load({str(run)!r}); "
        "print(module(torch.zeros(2, 1, 8, 8)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "torch.Size([2, 10])\n"


@pytest.mark.release
def test_the_script_of_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "models_of_your_own.md").read_text()
    script = page.partition("## From memory")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0.5
    assert (tmp_path / "runs" / "from_memory" / "model.pth").is_file()


@pytest.mark.parametrize(
    ("change", "given", "line"),
    [
        ({"model": {"name": "digits_net"}}, {}, "model.name: comes with what is given, got 'digits_net'; leave it out"),
        ({"data": {"name": "digits"}}, {}, "data.name: comes with what is given"),
        ({"study": {"evaluations": 0}}, {}, "study.evaluations: must be at least 1, got 0"),
        ({}, {"loss": lambda outputs, labels: outputs.sum()}, "task.loss: workers must be able to import it"),
        ({}, {"model": "resnet18"}, "model: must be a torch.nn.Module, got str"),
        ({}, {"train": None}, "training data must be a pair of arrays, a dataset with a length or a loader of one"),
        ({"study": {"run_dir": "s3://bucket/run"}}, {}, "study.run_dir: must be a folder where things are given"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_line_before_anything_is_trained(
    change: dict[str, Any], given: dict[str, Any], line: str, tmp_path: Path
) -> None:
    spec = _spec(tmp_path)
    for section, values in change.items():
        spec.setdefault(section, {}).update(values)
    images = np.zeros((200, 1, 8, 8), np.uint8), np.arange(200) % 10
    arguments: dict[str, Any] = {"model": Net(8), "train": images, "test": images, **given}
    with pytest.raises(UserError) as caught:
        pqsearch.compress(**arguments, spec=spec)
    assert any(problem.startswith(line) for problem in caught.value.problems), caught.value.problems
    assert not (tmp_path / "run" / "baseline.pth").exists()


def test_a_network_whose_head_does_not_fit_the_labels_is_refused(tmp_path: Path) -> None:
    images = np.zeros((400, 1, 8, 8), np.uint8), np.arange(400) % 12
    with pytest.raises(UserError) as caught:
        pqsearch.compress(Net(8), images, images, _spec(tmp_path))
    assert any("12" in problem and "10" in problem for problem in caught.value.problems), caught.value.problems
