"""Whole runs, of few images and few steps, for a network of every family; and the same run twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pqsearch
from pqsearch.cli import main
from tests.conftest import write_spec
from tests.own_modules import own_modules
from trainers.measure import measure

pytestmark = pytest.mark.long

OWN = """
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self, classes, wide):
        super().__init__()
        self.one = nn.Conv2d(3, wide, 3, 2, 1)
        self.two = nn.Conv2d(wide, wide, 3, 1, 1, groups=wide)
        self.three = nn.Conv2d(wide, 2 * wide, 1)
        self.norm = nn.BatchNorm1d(2 * wide)
        self.head = nn.Linear(2 * wide, classes)

    def forward(self, x):
        x = functional.hardswish(self.one(x))
        x = functional.leaky_relu(self.three(self.two(x)), 0.1).mean((2, 3))
        return self.head(self.norm(x))

def make(classes, *, wide=16):
    return Net(classes, wide)
"""

#: Name, options, side of the images. Narrow where a network can be: what goes from stage to stage is the same.
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "resnet56_b": ("cifar_resnet", {"depth": 56, "shortcut": "B"}, 32),
    "vgg16": ("vgg", {"depth": 16, "width": 0.25}, 32),
    "mobilenet_v1": ("mobilenet_v1", {"stem": "cifar", "width": 0.5}, 32),
    "mobilenet_v2": ("mobilenet_v2", {"stem": "cifar", "width": 0.5}, 32),
    "darknet19": ("darknet", {"stem": "cifar", "width": 0.25}, 32),
    "densenet40": ("densenet", {"depth": 40, "growth": 4}, 32),
    "resnet50_caffe": ("resnet", {"depth": 50, "stride_in": "1x1"}, 32),
    "efficientnet_b0": ("torchvision:efficientnet_b0", {}, 64),
    "regnet_y_400mf": ("torchvision:regnet_y_400mf", {}, 32),
    "own": ("mynet:make", {"wide": 24}, 32),
}
#: Depthwise with inverted residuals, and one's own; the parts of the others are all in `tests/contracts`.
DAILY = {"mobilenet_v2", "own"}
#: Where every level of 25 million weights rounded in turn is most of the run, and nothing of the network's own.
WITHOUT_PRIOR = {"resnet50_caffe", "efficientnet_b0", "regnet_y_400mf", "densenet40"}


def _images(folder: Path, side: int) -> Path:
    """Noise around a brightness that says the class."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 160), ("test", 40)):
        labels = np.arange(count) % 4
        noise = rng.integers(0, 60, (count, 3, side, side))
        np.save(folder / f"{part}_images.npy", (noise + 60 * labels[:, None, None, None]).astype(np.uint8))
        np.save(folder / f"{part}_labels.npy", labels)
    return folder


@pytest.mark.usefixtures("warm_ray")
@pytest.mark.parametrize(
    "key", [name if name in DAILY else pytest.param(name, marks=pytest.mark.release) for name in NETWORKS]
)
def test_a_network_goes_from_spec_to_export(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, options, side = NETWORKS[key]
    with own_modules(tmp_path, mynet=OWN):
        spec = write_spec(
            tmp_path, study__evaluations=4, study__confirm=0, model={"name": name, "options": options},
            data={"name": "arrays", "root": str(_images(tmp_path / "data", side)), "score_images": 40, "select_images": 20},
            baseline__epochs=1, baseline__batch_size=20, budgets={"flops": 0.7, "weight_bits": 5.0, "act_bits": 5.0},
            rungs=[{"kind": "calibrate", "images": 32}, {"kind": "fine_tune", "steps": 1, "batch_size": 16}],
            finetune__epochs=1, finetune__batch_size=20, finetune__compare=False,
            sensitivity={"source": "none" if key in WITHOUT_PRIOR else "gradients"},
        )  # fmt: skip
        assert main(["run", str(spec)]) == 0, capsys.readouterr().err
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        module = pqsearch.load(tmp_path / "run")
        found = measure(module, (3, side, side))
        assert found["macs"] <= 0.7 * summary["baseline"]["macs"] * (1 + 1e-9)
        assert found["weight_bits"] <= 5 and found["act_bits"] <= 5
        assert module(torch.zeros(2, 3, side, side)).shape == (2, 4)


def _without_times(value: Any) -> Any:
    timed = ("seconds", "hours", "time", "started", "versions", "run_dir", "price", "wall")
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if not any(word in key for word in timed)}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("warm_ray")
@pytest.mark.release
@pytest.mark.parametrize("changes", [{"workers__count": 1}, {"workers__count": 2, "study__synchronous": True}])
def test_the_same_seed_gives_the_same_summary_twice(changes: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert main(["run", str(write_spec(tmp_path / name, **changes))]) == 0
        found.append(json.loads((tmp_path / name / "run" / "summary.json").read_text()))
    first, second = map(_without_times, found)
    assert first == second
    plans = [(tmp_path / name / "run" / "plan.json").read_bytes() for name in ("one", "two")]
    assert plans[0] == plans[1]
