"""Writes docs/models.md: every network of the house with its size and what of it can be searched.

python -m trainers.model_docs docs/models.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pqsearch import rooms
from trainers.build import build_model
from trainers.layers import trace
from trainers.measure import measure

CIFAR, IMAGENET = (10, 32), (1000, 224)


@dataclass(frozen=True)
class Row:
    """A network to be counted: its options, and classes and pixels of the images it is meant for."""

    name: str
    options: Mapping[str, Any]
    images: tuple[int, int] = CIFAR


def rows() -> Iterator[Row]:
    """The networks people ask for by name, those for small images first."""
    for depth in (20, 32, 44, 56, 110, 1202):
        yield Row("cifar_resnet", {"depth": depth})
    yield Row("cifar_resnet", {"depth": 56, "shortcut": "B"})
    for depth in (18, 50):
        yield Row("resnet", {"depth": depth, "stem": "cifar"})
    for depth in (11, 13, 16, 19):
        yield Row("vgg", {"depth": depth})
    for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3"):
        yield Row(name, {"stem": "cifar"})
    for version in ("19", "53", "tiny"):
        yield Row("darknet", {"version": version, "stem": "cifar"})
    for options in ({"depth": 40}, {"depth": 100}, {"depth": 100, "bottleneck": True}):
        yield Row("densenet", options)
    yield Row("googlenet", {})
    for depth in (18, 50):
        yield Row("preact_resnet", {"depth": depth})
    yield Row("senet", {"depth": 18})
    yield Row("resnext", {"groups": 8, "width": 64})
    for depth in (26, 92):
        yield Row("dpn", {"depth": depth})
    for groups in (2, 3):
        yield Row("shufflenet_g", {"groups": groups})
    for cell in "AB":
        yield Row("pnasnet", {"cell": cell})
    yield Row("bireal_resnet", {"depth": 20})
    for kind in "xy":
        yield Row("regnet", {"kind": kind, "stem": "cifar"})
    yield Row("lenet", {})
    for depth in (18, 34, 50, 101, 152):
        yield Row("resnet", {"depth": depth}, IMAGENET)
    yield Row("resnet", {"depth": 18, "first_shortcut": True}, IMAGENET)
    yield Row("resnet", {"depth": 50, "stride_in": "1x1"}, IMAGENET)
    yield Row("vgg", {"depth": 16, "stem": "imagenet"}, IMAGENET)
    for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3"):
        yield Row(name, {}, IMAGENET)
    for version in ("19", "53", "tiny"):
        yield Row("darknet", {"version": version}, IMAGENET)
    for name in ("efficientnet_b0", "regnet_y_400mf", "densenet121", "resnext50_32x4d", "shufflenet_v2_x1_0"):
        yield Row(f"torchvision:{name}", {}, IMAGENET)


def line(row: Row) -> str:
    """The row of the table for a network, which is built and traced for it."""
    classes, pixels = row.images
    model = build_model(row.name, row.options, classes, (3, pixels, pixels)).eval()
    costs = measure(model, (3, pixels, pixels))
    info = trace(model, (3, pixels, pixels)).info
    channels = sum(group.channels for group in info.groups)
    prunable = [group for group in info.groups if group.prunable]
    share = sum(group.channels for group in prunable) / channels
    options = " ".join(f"{key}={value}" for key, value in row.options.items())
    return (
        f"| `{row.name}` | {options} | {pixels} | {costs['params'] / 1e6:.2f} | {costs['macs'] / 1e6:,.0f} | {len(info.layers)} "
        f"| {len(info.groups)} | {len(prunable)} | {100 * share:.0f} % |"
    )


def page() -> str:
    """The whole page. Takes some minutes: every network is built, traced and cut."""
    torch.manual_seed(0)
    files = ", ".join(f"`{name}`" for name in rooms.names("models"))
    head = f"""# Networks

`[model] name` is one of {files}; or `torchvision:<name>` for any classification network of torchvision's; or
`timm:<name>` for one of timm's (`pip install 'pqsearch[timm]'`); or `module:function` for your own. Options
are in `[model.options]`; docs/spec.md lists those of each.

`stem = "cifar"` keeps the resolution of 32-pixel images where the published network, `stem = "imagenet"`, would halve it.

Counted by `python -m trainers.model_docs docs/models.md`: parameters in millions; MACs of convolutions and linear layers in millions,
for one image of that many pixels; layers, each of which can be given bits of its own; groups of channels that can only go together,
how many of them can be pruned, and what share of all channels those are. What stays: the classes, channels that an
option-A shortcut pads, and in networks that shuffle or split channels whatever passes through that.

| network | options | pixels | parameters | MACs | layers | groups | prunable | of the channels |
|---|---|---|---|---|---|---|---|---|
"""
    lines = []
    for row in rows():
        lines.append(line(row))
        print(lines[-1], file=sys.stderr, flush=True)
    return head + "\n".join(lines) + "\n"


def main() -> int:
    (path,) = sys.argv[1:]
    Path(path).write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
