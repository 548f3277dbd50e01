"""ResNet-50 and MobileNetV2 at 224 pixels: a candidate by phase, a worker's memory, and training beside plain torch.

    python benchmarks/large_networks.py [--networks resnet50 mobilenet_v2] [--steps 5] [--compile] [--json FILE]

Images are noise: what is measured does not depend on them. Each network has a process of its own, with as many torch threads as the
machine has cores, and batches of 16. Steps of plain torch, of ours in float, and of ours with 4-bit fake quantisation take turns,
with `--compile` (which wants a C++ compiler and minutes) also those that torch has compiled.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pqsearch import environment

environment.set_defaults()

import numpy as np  # noqa: E402  the environment must be set first
import torch  # noqa: E402
from _report import Row, at_most, json_argument, report  # noqa: E402
from evaluate import measure  # noqa: E402
from torch.nn import functional  # noqa: E402

from pqsearch.plan import LayerPlan, Plan  # noqa: E402
from pqsearch.spec import Spec, parse_spec  # noqa: E402
from trainers.build import build_model  # noqa: E402
from trainers.compress import calibrate_steps, compress  # noqa: E402
from trainers.layers import trace  # noqa: E402
from trainers.loop import Recipe, Trainer  # noqa: E402

NETWORKS = {"resnet50": "torchvision:resnet50", "mobilenet_v2": "torchvision:mobilenet_v2"}
SHAPE, BATCH, CLASSES = (3, 224, 224), 16, 10
IMAGES = {"train": 120, "test": 20}
MOST_BYTES, MOST_SURGERY, MOST_STEP = 3e9, 1.0, 1.05


def spec_of(network: str, folder: Path) -> Spec:
    """A search of that network on noise in `folder`."""
    rng = np.random.default_rng(0)
    for part, count in IMAGES.items():
        np.save(folder / f"{part}_images.npy", rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(count) % CLASSES)
    return parse_spec(
        {
            "study": {"name": network, "evaluations": 4, "run_dir": str(folder / "run")},
            "data": {
                "name": "arrays", "root": str(folder), "score_images": 32, "select_images": 20, "augment": [],
            },
            "model": {"name": NETWORKS[network]},
            "budgets": {"flops": 0.5, "weight_bits": 4.0, "act_bits": 4.0},
            "rungs": [{"kind": "calibrate", "images": 32}, {"kind": "fine_tune", "steps": 2, "batch_size": BATCH}],
        }
    )  # fmt: skip


def steps_beside_plain_torch(network: str, steps: int, compiled: bool = False) -> list[Row]:
    """Seconds of a training step, as ratios of turns next to each other."""
    torch.manual_seed(0)
    images = torch.randn(BATCH, *SHAPE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % CLASSES

    def fresh() -> Any:
        model = build_model(NETWORKS[network], {}, CLASSES, SHAPE)
        return model.to(memory_format=torch.channels_last)

    plain = fresh().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def plain_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(plain(images), labels).backward()
        optimizer.step()

    whole = fresh().eval()
    traced = trace(whole, SHAPE)
    plan = Plan(layers={layer.name: LayerPlan(4, 4) for layer in traced.info.layers})
    quantised = compress(whole, plan, traced=traced).to(memory_format=torch.channels_last).requires_grad_(True)
    calibrate_steps(quantised, images)
    recipe = Recipe(steps=steps + 1, lr=0.01, amp=False)

    def step_of(model: Any, recipe: Recipe = recipe) -> Callable[[], object]:
        trainer = Trainer(model, recipe, torch.device("cpu"))
        return lambda: trainer.run([(images, labels)])

    turns = {"plain": plain_step, "ours": step_of(fresh())}
    if compiled:
        in_code = replace(recipe, compiled=True)
        turns |= {
            "compiled": step_of(fresh(), in_code),
            "quantised, compiled": step_of(copy.deepcopy(quantised), in_code),
        }
    turns["quantised"] = step_of(quantised)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(steps + 1):
        for name, step in turns.items():
            began = time.perf_counter()
            step()
            if turn:  # the first one makes buffers
                seconds[name].append(time.perf_counter() - began)

    def ratio(name: str, other: str) -> float:
        return statistics.median(one / two for one, two in zip(seconds[name], seconds[other], strict=True))

    rows = [
        Row(f"{network}: a float step of plain torch", statistics.median(seconds["plain"]), "s"),
        at_most(f"{network}: ours in float beside it", ratio("ours", "plain"), "times", MOST_STEP),
        Row(f"{network}: ours with 4-bit fake quantisation beside ours in float", ratio("quantised", "ours"), "times"),
    ]
    if compiled:
        rows += [
            Row(f"{network}: ours in float, compiled, beside ours in float", ratio("compiled", "ours"), "times"),
            Row(f"{network}: that with 4-bit fake quantisation", ratio("quantised, compiled", "ours"), "times"),
        ]
    return rows


def _measured(network: str, steps: int, compiled: bool) -> list[Row]:
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(
            network, spec_of(network, Path(folder)), 3,
            threads=threads, most_bytes=MOST_BYTES, most_surgery=MOST_SURGERY,
        )  # fmt: skip
    return rows + steps_beside_plain_torch(network, steps, compiled)


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=5, help="training steps of each kind that are timed")
    parser.add_argument("--compile", action="store_true", help="time compiled steps too")
    options = parser.parse_args()
    rows: list[Row] = []
    for network in options.networks:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows += pool.apply(_measured, (network, options.steps, options.compile))
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
