"""What users get wrong: each is one clear line per problem, exit code 2, no traceback, and nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pqsearch.cli import main
from pqsearch.prepare import worker_problems
from pqsearch.spec import parse_spec
from tests.conftest import small_spec, write_spec


@dataclass(frozen=True)
class Mistake:
    """Changes to the small spec, the words that the answer must hold, and files that must be there first."""

    changes: dict[str, Any]
    says: tuple[str, ...]
    prepare: Callable[[Path], dict[str, Any]] | None = None


def _images(folder: Path, empty: bool = False, broken: bool = False, sizes: tuple[int, ...] = (8,)) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            place = folder / "images" / split / label
            place.mkdir(parents=True)
            for index in range(0 if empty and label == "dog" and split == "train" else 12):
                size = sizes[index % len(sizes)]
                Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(place / f"{index}.png")
    if broken:
        (folder / "images" / "train" / "cat" / "3.png").write_bytes(b"not an image")
    return {"data": _folder(folder / "images", folder)}


def _folder(root: Path, folder: Path) -> dict[str, Any]:
    cache = str(folder / "cache")
    return {"name": "image_folder", "root": str(root), "score_images": 4, "select_images": 4, "cache": cache}


def _module(text: str) -> Callable[[Path], dict[str, Any]]:
    def prepare(folder: Path) -> dict[str, Any]:
        name = "users_" + "".join(letter for letter in folder.name if letter.isalnum())
        (folder / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{text}\n")
        return {"model": {"name": f"{name}:make"}}

    return prepare


def _weights(value: Any) -> Callable[[Path], dict[str, Any]]:
    def prepare(folder: Path) -> dict[str, Any]:
        path = folder / "weights.pth"
        if isinstance(value, bytes):
            path.write_bytes(value)
        else:
            torch.save(value, path)
        return {"model__weights": str(path)}

    return prepare


def _other_run(folder: Path) -> dict[str, Any]:
    (folder / "run").mkdir()
    (folder / "run" / "spec.toml").write_bytes(write_spec(folder, study__seed=7).read_bytes())
    return {}


def _strange_folder(folder: Path) -> dict[str, Any]:
    (folder / "run").mkdir()
    (folder / "run" / "thesis.txt").write_text("do not touch")
    return {}


def _file_in_the_way(folder: Path) -> dict[str, Any]:
    (folder / "file").write_text("")
    return {"study__run_dir": str(folder / "file" / "run")}


def _archive_cut_short(folder: Path) -> dict[str, Any]:
    _images(folder)
    whole = folder / "images.tar.gz"
    with tarfile.open(whole, "w:gz") as archive:
        archive.add(folder / "images", "images")
    (folder / "cut.tar.gz").write_bytes(whole.read_bytes()[:3000])
    return {"data": _folder(folder / "cut.tar.gz", folder)}


SPEC_MISTAKES = {
    "unknown section": Mistake({"serach": {}}, ("serach: unknown key",)),
    "unknown key": Mistake({"study__evalutions": 3}, ("study.evalutions: unknown key, did you mean 'evaluations'?",)),
    "missing name": Mistake({"study": {}}, ("study.name: is required",)),
    "missing data": Mistake({"data": {}}, ("data.name: is required",)),
    "name with a slash": Mistake({"study__name": "a/b"}, ("study.name: may hold letters",)),
    "seed of text": Mistake({"study__seed": "one"}, ("study.seed: must be a whole number, got 'one'",)),
    "no evaluations": Mistake({"study__evaluations": 0}, ("study.evaluations: must be at least 1, got 0",)),
    "negative hours": Mistake({"study__hours": -1.0}, ("study.hours: must be above 0, got -1.0",)),
    "storage that is no address": Mistake(
        {"study__storage": "optuna.log"}, ("study.storage: must be postgresql://USER@HOST/DATABASE, or left out",)
    ),
    "storage with a password half escaped": Mistake(
        {"study__storage": "postgresql://me:p@ss@host/db"}, ("study.storage: in names and passwords @ is written %40",)
    ),
    "unknown score": Mistake(
        {"study__objectives": ["f1"]}, ("study.objectives[0]: must be 'accuracy' or 'loss', got 'f1'",)
    ),
    "flops above one": Mistake({"budgets": {"flops": 1.5}}, ("budgets.flops: must be in (0, 1], got 1.5",)),
    "flops of nothing": Mistake({"budgets": {"flops": 0.0}}, ("budgets.flops: must be in (0, 1], got 0.0",)),
    "budget of text": Mistake({"budgets": {"flops": "half"}}, ("budgets.flops: must be a number, got 'half'",)),
    "unknown budget": Mistake(
        {"budgets": {"flop": 0.5}}, ("budgets.flop: unknown name 'flop', did you mean 'flops'?",)
    ),
    "bits below the smallest": Mistake(
        {"budgets": {"weight_bits": 0.9}}, ("budgets.weight_bits: must be in [1, 32], got 0.9",)
    ),
    "two budgets": Mistake(
        {"budgets": {"flops": 2.0, "act_bits": 99.0}}, ("budgets.flops: must be", "budgets.act_bits: must be")
    ),
    "unknown dataset": Mistake({"data__name": "digit"}, ("data.name: unknown name 'digit', did you mean 'digits'?",)),
    "unknown dataset option": Mistake({"data__sise": 3}, ("data.sise: unknown",)),
    "unknown model": Mistake({"model": {"name": "resnets"}}, ("model.name: unknown name 'resnets'",)),
    "unknown model option": Mistake(
        {"model": {"name": "cifar_resnet", "options": {"dept": 20}}}, ("model.options.dept: unknown option",)
    ),
    "model option not a choice": Mistake(
        {"model": {"name": "cifar_resnet", "options": {"depth": 21}}}, ("model.options.depth: must be one of 20, 32",)
    ),
    "unknown algorithm": Mistake(
        {"algorithm": {"name": "genetics"}}, ("algorithm.name: unknown name 'genetics', did you mean 'genetic'?",)
    ),
    "unknown algorithm option": Mistake({"algorithm__swarm": 3}, ("algorithm.swarm: unknown option of 'genetic'",)),
    "algorithm option out of range": Mistake({"algorithm__population": 1}, ("algorithm.population: must be from 2",)),
    "algorithm option of text": Mistake({"algorithm__mutation": "x"}, ("algorithm.mutation: must be a number",)),
    "unknown rung": Mistake({"rungs": [{"kind": "train"}]}, ("rungs[0].kind: must be 'calibrate', 'few_shot'",)),
    "rung without steps": Mistake({"rungs": [{"kind": "few_shot"}]}, ("rungs[0].steps: must be at least 1",)),
    "calibration with steps": Mistake({"rungs": [{"kind": "calibrate", "steps": 3}]}, ("rungs[0].steps: must be 0",)),
    "no rungs": Mistake({"rungs": []}, ("rungs: must not be empty",)),
    "everything pruned": Mistake({"space__prune_rate": [0.0, 1.0]}, ("space.prune_rate[1]: must be in [0, 1)",)),
    "nine bits": Mistake({"space__weight_bits": [4, 9]}, ("space.weight_bits[1]: must be 1 to 8, or 32",)),
    "pin of an unknown knob": Mistake({"space__pin": {"linear": {"bits": 4.0}}}, ("space.pin.linear.bits: unknown",)),
    "unknown quantizer": Mistake({"quantizer": {"name": "dorefa"}}, ("quantizer.name: unknown name 'dorefa'",)),
    "unknown importance": Mistake({"pruning": {"importance": "l3"}}, ("pruning.importance: unknown name 'l3'",)),
    "unknown exporter": Mistake({"export": {"formats": ["tflite"]}}, ("export.formats[0]: unknown name 'tflite'",)),
    "no workers": Mistake({"workers__count": 0}, ("workers.count: must be at least 1, got 0",)),
    "a section that is a number": Mistake({"workers": 3}, ("workers: must be a table (a [section]), got 3",)),
    "several at once": Mistake(
        {"study__seed": -1, "data__name": "x", "budgets": {"flops": 3.0}, "workers__count": "two"},
        (
            "study.seed: must be",
            "data.name: unknown",
            "budgets.flops: must be",
            "workers.count: must be a whole number",
        ),
    ),
}
INPUT_MISTAKES = {
    "more cores than there are": Mistake({"workers__count": 5000}, ("workers.count: 5000 workers of 1 cpus need",)),
    "no data root": Mistake({"data": {"name": "image_folder"}}, ("data.root: is required by image_folder",)),
    "data root that is not there": Mistake(
        {"data": _folder(Path("/nowhere"), Path("/nowhere"))}, ("data.root: /nowhere does not exist",)
    ),
    "cifar10 that is not there": Mistake(
        {"data": {"name": "cifar10", "root": "/nowhere"}}, ("data.root: /nowhere has no",)
    ),
    "empty class folder": Mistake({}, ("has no images", "dog"), lambda folder: _images(folder, empty=True)),
    "unreadable image": Mistake({}, ("train/cat/3.png",), lambda folder: _images(folder, broken=True)),
    "images of two sizes": Mistake({}, ("images must have one size",), lambda folder: _images(folder, sizes=(8, 9))),
    "archive cut short": Mistake({}, ("nor a readable tar archive",), _archive_cut_short),
    "too few images": Mistake({"data__score_images": 5000}, ("data.score_images: 5000 images to score",)),
    "weights that are not there": Mistake(
        {"model__weights": "/nowhere.pth"}, ("model.weights: /nowhere.pth does not exist",)
    ),
    "weights of bytes": Mistake({}, ("model.weights:", "is not a state dict"), _weights(b"no tensors here")),
    "weights of a pickled object": Mistake({}, ("is not a state dict",), _weights({"a": Path("x")})),
    "weights of another model": Mistake(
        {}, ("does not fit the model", "misses conv1.weight"), _weights({"w": torch.zeros(1)})
    ),
    "budget out of reach": Mistake({"budgets": {"flops": 0.01}}, ("budgets.flops: smallest reachable is",)),
    "budgets that exclude each other": Mistake(
        {
            "budgets": {"params": 0.12, "weight_bits": 2.05},
            "space__prune_rate": [0.0, 0.9],
            "space__weight_bits": [2, 8],
        },
        ("budgets: cannot hold together",),
    ),
    "pin of a layer that is not there": Mistake(
        {"space__pin": {"layer9.conv": {"weight_bits": 8.0}}}, ("space.pin.layer9.conv: the model has no such layer",)
    ),
    "nothing that varies": Mistake(
        {"space": {"prune_rate": [0.0], "weight_bits": [8], "act_bits": [8]}, "budgets": {}},
        ("space: nothing varies",),
    ),
    "unknown torchvision network": Mistake(
        {"model": {"name": "torchvision:resnet19"}}, ("torchvision has no classification network 'resnet19'",)
    ),
    "unknown network of timm": Mistake({"model": {"name": "timm:resnet19"}}, ("timm has no network 'resnet19'",)),
    "torchvision's weights for another network": Mistake(
        {"model__weights": "torchvision:IMAGENET1K_V1"}, ("model.weights: torchvision:IMAGENET1K_V1 are for networks",)
    ),
    "output of a network that has one": Mistake(
        {"model__output": "main"}, ("model.output: the model returns one tensor",)
    ),
    "loss that is not there": Mistake(
        {"task": {"loss": "torch.nn.functional:cross_entropi", "metric": "nowhere:score"}},
        (
            "task.loss: torch.nn.functional has no function or class 'cross_entropi', did you mean 'cross_entropy'",
            "task.metric: there is no module 'nowhere' in ",
        ),
    ),
    "loss and metric that cannot be used": Mistake(
        {
            "task": {
                "loss": "torch.nn.functional:cross_entropy",
                "loss_options": {"reduction": "sum"},
                "metric": "torch.nn.functional:mse_loss",
            }
        },
        (
            "task.loss: torch.nn.functional:cross_entropy must be a mean over the batch",
            "task.metric: torch.nn.functional:mse_loss",
        ),
    ),
    "ImageNet cut larger than it is resized": Mistake(
        {"data": {"name": "imagenet", "root": "/", "size": 300}},
        ("data.resize: must be at least data.size, which is 300",),
    ),
    "module that is not there": Mistake({"model": {"name": "nowhere:make"}}, ("there is no module 'nowhere'",)),
    "function that is not there": Mistake({}, ("has no function or class 'make'",), _module("x = 1")),
    "function that gives no module": Mistake({}, ("must give a torch.nn.Module",), _module("def make(): return 3")),
    "model that cannot be built": Mistake(
        {}, ("ValueError: no luck",), _module("def make(): raise ValueError('no luck')")
    ),
    "model for other images": Mistake(
        {},
        ("an image of shape (1, 8, 8)", "model.options"),
        _module("def make(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())"),
    ),
    "model without layers": Mistake(
        {},
        ("no convolution or linear layer",),
        _module("class M(nn.Module):\n    def forward(self, x): return x.flatten(1)[:, :10]\ndef make(): return M()"),
    ),
    "run of another spec": Mistake({}, ("study.seed: the run in", "has 7, the spec 0"), _other_run),
    "folder that holds no run": Mistake({}, ("is not empty and holds no run",), _strange_folder),
    "run directory that cannot be written": Mistake({}, ("study.run_dir: cannot write in",), _file_in_the_way),
    "baseline that diverges": Mistake({"baseline__lr": 1e9}, ("baseline.lr: the loss became", "lower it")),
    "nothing to start from": Mistake({"baseline__epochs": 0}, ("baseline.epochs: must be at least 1",)),
}


def _answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return captured.err


def test_more_than_forty_mistakes_are_tried() -> None:
    assert len(SPEC_MISTAKES) + len(INPUT_MISTAKES) + len(COMMAND_MISTAKES) >= 80


@pytest.mark.parametrize("name", SPEC_MISTAKES)
def test_a_wrong_spec_is_answered_line_by_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mistake = SPEC_MISTAKES[name]
    answer = _answer(["run", str(write_spec(tmp_path, **mistake.changes))], capsys)
    lines = answer.strip().splitlines()
    assert len(lines) == len(mistake.says), answer
    for words in mistake.says:
        assert any(words in line for line in lines), answer
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", INPUT_MISTAKES)
def test_wrong_input_is_named_before_it_costs_anything(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = INPUT_MISTAKES[name]
    changes = dict(mistake.changes)
    if mistake.prepare is not None:
        changes |= mistake.prepare(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    answer = _answer(["run", str(write_spec(tmp_path, **changes))], capsys)
    for words in mistake.says:
        assert words in answer, answer
    for path, content in before.items():
        assert path.read_bytes() == content


COMMAND_MISTAKES = {
    "spec that is not there": (["run", "{}/nothing.toml"], "nothing.toml: cannot be read"),
    "spec that is no TOML": (["check", "{}/broken.toml"], "broken.toml: is not valid TOML"),
    "spec that is no text": (["check", "{}/bytes.toml"], "bytes.toml: is not a text file"),
    "override without a value": (["check", "{}/spec.toml", "--set", "study.seed"], "--set study.seed: must be"),
    "override of nothing": (["check", "{}/spec.toml", "--set", "rungs[9].steps=3"], "there is no rungs[9].steps"),
    "override of a wrong type": (["check", "{}/spec.toml", "--set", "study.seed=abc"], "study.seed: must be a whole"),
    "run directory that is none": (["show", "{}"], "is not a run directory"),
    "trials of nothing": (["trials", "{}/no"], "is not a run directory"),
    "evaluation without weights": (
        ["evaluate", "{}/spec.toml"],
        "model.weights: is required where a spec is no run yet",
    ),
    "evaluation before the export": (["evaluate", "{}/run"], "has no model.pth yet"),
    "unknown room": (["list", "animals"], "list: unknown room 'animals'"),
    "spec that would be overwritten": (["init", "{}/spec.toml"], "spec.toml: exists already"),
    "plan that is not there": (["finetune", "{}/trained.toml", "--plan", "{}/no.json"], "no.json: cannot be read"),
    "plan that is no JSON": (["finetune", "{}/trained.toml", "--plan", "{}/broken.toml"], "is not a plan file"),
    "plan of another model": (["finetune", "{}/trained.toml", "--plan", "{}/foreign.json"], "plan.layers.conv9: the"),
    "plan of one bit for fixed point": (
        ["finetune", "{}/trained.toml", "--plan", "{}/single.json", "--set", "fixed_point.plan_bits=true"],
        "single.json: has 1 bit for conv1, which fixed_point.plan_bits would take over",
    ),
    "plan with an unknown knob": (["finetune", "{}/trained.toml", "--plan", "{}/knob.json"], "density: unknown knob"),
    "fine-tune before the search": (["finetune", "{}/trained.toml"], "the search is not finished"),
    "correlation before the search": (["correlate", "{}/run"], "the search is not finished; `pqsearch search"),
    "correlation of one plan": (
        ["correlate", "{}/run", "--plans", "1"],
        "--plans 1: must be a whole number, at least 2",
    ),
    "export before the fine-tune": (["export", "{}/trained.toml"], "nothing is fine-tuned yet"),
}


@pytest.fixture(scope="module")
def commands_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad files, and a run whose baseline is trained."""
    folder = tmp_path_factory.mktemp("commands")
    trained = write_spec(folder, baseline__epochs=1)
    assert main(["baseline", str(trained)]) == 0
    (folder / "trained.toml").write_bytes(trained.read_bytes())
    write_spec(folder, study__run_dir=str(folder / "other"))
    (folder / "broken.toml").write_text("[study\nname = 1")
    (folder / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    layers: dict[str, Any] = {"conv9": {"weight_bits": 4, "act_bits": 4}}
    (folder / "foreign.json").write_text(json.dumps({"format": 1, "groups": {}, "layers": layers}))
    layers = {"conv1": {"weight_bits": 1, "act_bits": 4}}
    (folder / "single.json").write_text(json.dumps({"format": 1, "groups": {}, "layers": layers}))
    layers = {"conv1": {"weight_bits": 4, "act_bits": 4, "density": 0.5}}
    (folder / "knob.json").write_text(json.dumps({"format": 1, "groups": {}, "layers": layers}))
    return folder


@pytest.mark.parametrize("name", COMMAND_MISTAKES)
def test_a_wrong_command_is_answered_in_one_line(
    name: str, commands_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = COMMAND_MISTAKES[name]
    answer = _answer([argument.format(commands_folder) for argument in arguments], capsys)
    assert words in answer


def test_a_gpu_that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pqsearch", "run", str(write_spec(tmp_path, workers__gpus=0.5))]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # also where there is one
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=hidden)
    assert done.returncode == 2
    assert done.stderr.startswith("workers.gpus: torch sees no GPU on this machine, got 0.5")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("count", "gpus", "fits"), [(4, 0.5, True), (3, 1, False), (5, 0.5, False), (2, 1, True)])
def test_workers_need_no_more_gpus_than_torch_sees(
    count: int, gpus: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine with two of them, of which there is none here.
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    spec = parse_spec(small_spec(workers={"count": count, "cpus": 0.1, "gpus": gpus}))
    line = f"workers.gpus: {count} workers of {gpus:g} gpus need {count * gpus:g}, torch sees 2 on this machine"
    assert [problem.startswith(line) for problem in worker_problems(spec)] == ([] if fits else [True])
