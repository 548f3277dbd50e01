"""Images a second: decoded into the cache, and read back in augmented batches, beside torchvision's ImageFolder and a DataLoader.

    python benchmarks/data.py [--images 4000] [--side 64] [--readers 4] [--json FILE]

Pictures are noise over a slope, written as JPEG by the benchmark. Torch has one thread in every process. The DataLoader has as many
workers as the machine has cores, ours none: its images are decoded. What several readers hold together is counted in
proportional set sizes, in which a page that four processes map counts a quarter in each.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pqsearch import environment

environment.set_defaults()

import numpy as np  # noqa: E402  the environment must be set first
import psutil  # noqa: E402
import torch  # noqa: E402
from _report import Row, at_least, at_most, json_argument, report  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from trainers.data import Loader, Slice  # noqa: E402
from trainers.datasets import image_folder  # noqa: E402

CLASSES, TESTED, BATCH = 4, 8, 128
TURNS = 3
#: Decoding is Pillow's work for both; the cache must cost little beside it.
LEAST_DECODED, LEAST_READ, MOST_COPIES = 0.8, 1.0, 1.5


def write_pictures(folder: Path, images: int, side: int) -> None:
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 150, side)[None, :, None]
    for part, count in (("train", images), ("test", TESTED)):
        for number in range(count):
            path = folder / part / str(number % CLASSES) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((rng.integers(0, 100, (side, side, 3)) + slope).astype(np.uint8)).save(path)


def loader_of(folder: Path, cache: Path) -> Loader:
    dataset = image_folder.load(str(folder), str(cache))
    part = Slice(dataset.train_images, dataset.train_labels, np.arange(len(dataset.train_labels)))
    return Loader(dataset, part, torch.device("cpu"))


def seconds_of(batches: Iterable[Any]) -> float:
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def _hold(folder: str, cache: str, ready: Any, leave: Any) -> None:
    torch.set_num_threads(1)
    loader = loader_of(Path(folder), Path(cache))
    before = psutil.Process().memory_full_info().pss
    total = sum(int(loader._part.images[start : start + BATCH].sum()) for start in range(0, len(loader), BATCH))
    ready.put((before, total))
    leave.wait()


def held_by(readers: int, folder: Path, cache: Path) -> float:
    """What reading all images adds to the memory of so many processes together, in bytes."""
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Queue(), context.Event()
    processes = [
        context.Process(target=_hold, args=(str(folder), str(cache), ready, leave), daemon=True) for _ in range(readers)
    ]
    for process in processes:
        process.start()
    before = sum(ready.get()[0] for _ in processes)
    after = sum(psutil.Process(process.pid).memory_full_info().pss for process in processes)
    leave.set()
    for process in processes:
        process.join()
    return float(after - before)


def measured(images: int, side: int, readers: int) -> list[Row]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "images", Path(name) / "cache"
        write_pictures(folder, images, side)
        began = time.perf_counter()
        loader = loader_of(folder, cache)
        decode = time.perf_counter() - began
        plain = ImageFolder(str(folder / "train"), v2.PILToTensor())
        peer_decode = seconds_of(plain[index] for index in range(len(plain)))
        transform = v2.Compose(
            [v2.PILToTensor(), v2.RandomCrop(side, side // 8), v2.RandomHorizontalFlip(),
             v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)]
        )  # fmt: skip
        peer = DataLoader(
            ImageFolder(str(folder / "train"), transform), BATCH, shuffle=True, drop_last=True,
            num_workers=os.cpu_count() or 1, persistent_workers=True,
        )  # fmt: skip
        seconds_of(peer)  # its workers start
        ours, theirs = [], []
        for turn in range(TURNS):
            ours.append(seconds_of(loader.epoch(BATCH, ("crop", "flip"), "benchmark", turn)))
            theirs.append(seconds_of(peer))
        whole = images // BATCH * BATCH
        ratio = statistics.median(their / our for our, their in zip(ours, theirs, strict=True))
        held = held_by(readers, folder, cache)
        size = images * 3 * side * side
    return [
        Row("decoded into the cache, once", images / decode, "images/s"),
        at_least("beside ImageFolder in one process", peer_decode / decode, "times", LEAST_DECODED),
        Row("augmented batches from the cache", whole / statistics.median(ours), "images/s"),
        at_least("beside a DataLoader with a worker a core", ratio, "times", LEAST_READ),
        at_most(f"copies of the images that {readers} readers hold together", held / size, "copies", MOST_COPIES),
    ]


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--side", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--readers", type=int, default=4)
    options = parser.parse_args()
    return report(measured(options.images, options.side, options.readers), options.json)


if __name__ == "__main__":
    sys.exit(main())
