"""A digits study that takes seconds, and folders of small pictures."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from pqsearch.plan import LayerPlan, Plan
from pqsearch.spec import Spec, parse_spec
from trainers import files
from trainers.baseline import initial_model
from trainers.data import Splits, split
from trainers.datasets import digits
from trainers.datasets._types import Dataset
from trainers.proxy import Context, make_context

CPU = torch.device("cpu")
RUNGS = ({"kind": "calibrate", "images": 64}, {"kind": "fine_tune", "steps": 4, "lr": 0.01, "batch_size": 32})
TRAINING = {"epochs": 2, "lr": 0.05, "batch_size": 64}
#: Prunes a residual stream and an inner group, and quantises with low and mixed bits.
PLAN = Plan(
    groups={"conv1": 0.5, "layer1.0.conv1": 0.25},
    layers={"layer1.0.conv1": LayerPlan(3, 4), "layer2.0.conv2": LayerPlan(4, 3), "linear": LayerPlan(8, 8)},
)


def small_spec(**sections: Any) -> Spec:
    """Digits with a two-stage trickle of training; a section given replaces keys of the one here."""
    base: dict[str, Any] = {
        "study": {"name": "small", "seed": 3},
        "data": {"name": "digits", "test_images": 1200, "score_images": 100, "select_images": 60},
        "model": {"name": "digits_net", "options": {"width": 4, "blocks": 1}},
        "baseline": TRAINING,
        "finetune": TRAINING,
    }
    merged = {name: {**base.get(name, {}), **values} for name, values in sections.items() if isinstance(values, dict)}
    return parse_spec({**base, "rungs": list(sections.get("rungs", RUNGS)), **merged})


@cache
def _digits(test_images: int) -> Dataset:
    return digits.load(None, None, test_images=test_images)


def small_data(spec: Spec) -> tuple[Dataset, Splits]:
    """The digits, in arrays of one's own, and their slices."""
    found = _digits(**spec.data.options)
    dataset = replace(found, train_images=found.train_images.copy(), train_labels=found.train_labels.copy())
    return dataset, split(dataset, spec.data)


def small_context(folder: Path, spec: Spec | None = None, **changed: Any) -> Context:
    """A worker's context around the untrained baseline of the spec; `changed` replaces fields of the dataset."""
    spec = spec or small_spec()
    dataset, splits = small_data(spec)
    if changed:
        dataset = replace(dataset, **changed)
        splits = split(dataset, spec.data)
    baseline = folder / "baseline.pth"
    if not baseline.is_file():
        files.save(initial_model(spec, dataset).state_dict(), baseline)
    return make_context(spec, dataset, splits, baseline, folder / "scratch", CPU)


def picture(value: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG of one colour (value, value / 2, 0)."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, value // 2, 0)).save(file, "PNG")
    return file.getvalue()


def picture_tree(images: int = 4, held_out: str = "test") -> dict[str, bytes]:
    """`train/` and what is held out of two classes, every picture of its own brightness, by path."""
    tree = {}
    for split_number, part in enumerate(("train", held_out)):
        for class_number, name in enumerate(("cat", "dog")):
            for number in range(images):
                tree[f"{part}/{name}/{number}.png"] = picture(10 * number + 100 * class_number + split_number)
    return tree


def write_tree(tree: dict[str, bytes], folder: Path) -> Path:
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_archive(tree: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def fake_cifar(folder: Path, monkeypatch: Any, images: int = 20, classes: int = 10) -> Path:
    """Files in the layout of CIFAR's originals, with the digests that torchvision checks set to theirs."""
    import hashlib
    import pickle

    from torchvision import datasets

    kind: Any = datasets.CIFAR10 if classes == 10 else datasets.CIFAR100
    base = folder / kind.base_folder
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)
    key, labels = ("label_names", "labels") if classes == 10 else ("fine_label_names", "fine_labels")

    def put(name: str, content: dict[str, Any]) -> list[str]:
        data = pickle.dumps(content)
        (base / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    def batch(number: int) -> dict[str, Any]:
        pixels = rng.integers(0, 256, (images, 3072), dtype=np.uint8)
        return {"data": pixels, labels: [(number + row) % classes for row in range(images)]}

    ten = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    names = ten if classes == 10 else [f"class {number}" for number in range(classes)]
    train = [f"data_batch_{n}" for n in range(1, 6)] if classes == 10 else ["train"]
    monkeypatch.setattr(kind, "train_list", [put(name, batch(n)) for n, name in enumerate(train, start=1)])
    monkeypatch.setattr(kind, "test_list", [put("test_batch" if classes == 10 else "test", batch(0))])
    meta = put("batches.meta" if classes == 10 else "meta", {key: names})
    monkeypatch.setattr(kind, "meta", {"filename": meta[0], "key": key, "md5": meta[1]})
    return folder


def array_folder(folder: Path, **changed: Any) -> Path:
    """A folder of arrays, those `changed` by name in place of sound ones."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 20)):
        found = {
            f"{part}_images": rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8),
            f"{part}_labels": np.arange(count) % 4,
        }
        for name, array in (found | {key: changed[key] for key in found if key in changed}).items():
            np.save(folder / f"{name}.npy", array)
    return folder


def shaken(model: nn.Module) -> nn.Module:
    """In float64, with norms that do something."""
    generator = torch.Generator().manual_seed(0)
    for module in model.double().modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                if tensor is not None:
                    tensor.data = 0.3 + torch.rand(tensor.shape, generator=generator, dtype=torch.double)
    return model.eval()


def difference(model: nn.Module, merged: nn.Module, shape: tuple[int, ...]) -> float:
    """Largest one of any output, as a share of the largest output."""
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    with torch.no_grad():
        wanted = model(images)
        return float((merged(images) - wanted).abs().max() / wanted.abs().max())
