"""The baseline's training shared by several processes; alone it is trained where the command runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray

from cluster import local
from pqsearch import ranks
from pqsearch.finetunes import POLL_SECONDS, bringer, hand_in, noter, result_of
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec, parse_spec

if TYPE_CHECKING:
    import torch

    from trainers.data import Splits
    from trainers.datasets._types import Dataset
    from trainers.distributed import World

#: How the names of all its files begin.
NAMES = "baseline"


def train_shared(
    spec: Spec, run: RunDirectory, progress: Callable[[dict[str, Any]], None], verbose: bool = False
) -> None:
    """Train in `baseline.workers` processes until the weights are in the run directory; goes on from an epoch's checkpoint.

    `progress` is told what `train_baseline` tells. Raises `UserError`, and `SearchAborted` when processes keep dying.
    """
    run.push()
    local.connect(local.render(spec, verbose))
    run.remove(run.baseline_progress)
    config = {"spec": spec.without_passwords().to_dict(), "run": run.where}
    reference = ranks.begin(_train, config, spec.workers, spec.baseline.workers, run, "baseline")
    told: dict[str, Any] | None = None
    bring = bringer(run, lambda name: name == run.baseline_progress.name)
    ended = False
    while not ended:
        ended = bool(ray.wait([reference], timeout=POLL_SECONDS)[0])
        bring()  # once more after the end: the last epochs may have passed since the look before
        if (seen := run.glance(run.baseline_progress)) not in (None, told):
            told = seen
            progress(seen)
    result_of(reference, "the training of the baseline")
    run.bring(run.baseline.name)
    run.remove(run.baseline_progress)


def _train(config: dict[str, Any]) -> dict[str, Any]:
    """Runs in each of the processes that share it."""
    from pqsearch.prepare import load_data
    from trainers.baseline import train_baseline
    from trainers.device import set_threads

    spec, run = parse_spec(config["spec"]), RunDirectory(config["run"])

    def prepare(world: World, device: torch.device) -> tuple[Dataset, Splits, torch.device]:
        run.bring(NAMES)
        set_threads(spec.workers.cpus)
        return *load_data(spec), device

    def train(world: World, made: tuple[Dataset, Splits, torch.device]) -> dict[str, Any]:
        dataset, splits, device = made
        note = noter(run, run.baseline_progress, NAMES)
        train_baseline(spec, dataset, splits, run.path, device, note, world)
        if run.store is not None and world.first:
            hand_in(run.store, NAMES)
        return {}

    return ranks.in_rank(prepare, train)
