"""A training that several processes share, through Ray Train: begun, begun again after a death, and what comes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory
from pqsearch.spec_search import WorkersSpec

if TYPE_CHECKING:
    import torch

    from trainers.distributed import World

T = TypeVar("T")

#: How often all processes begin again, each time from the last epoch's checkpoint, before a training is given up.
RESTARTS = 3


def begin(
    loop: Callable[[dict[str, Any]], dict[str, Any]],
    config: Mapping[str, Any],
    workers: WorkersSpec,
    processes: int,
    run: RunDirectory,
    name: str,
) -> Any:
    """A Ray reference to what `loop(config)` gives in the first of so many processes, each as large as a worker.

    `loop` is a module's function and returns what `in_rank` does. Getting the reference raises `ray.exceptions.RayTaskError`, whose
    cause is a `UserError` or says in a line why processes died more than `RESTARTS` times.
    """
    # Beside this process: what Ray Train writes is in this machine's folder of the run.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    task = ray.remote(num_cpus=0, max_retries=RESTARTS, scheduling_strategy=here)(_fit)
    resources = {name: number for name, number in workers.wanted().items() if number}
    folder = run.scratch / f"ray-train-{name}"
    return task.options(name=f"{name} in {processes} processes").remote(
        loop, dict(config), processes, resources, str(folder), not os.environ.get("RAY_ADDRESS")
    )


def in_rank(prepare: Callable[[World, torch.device], T], train: Callable[[World, T], dict[str, Any]]) -> dict[str, Any]:
    """The whole of a process: `prepare`, then `train`, unless one of the processes finds something wrong that the user can mend.

    Anything else that is raised ends all processes, and they begin again.
    """
    from ray.train.torch import get_device

    from trainers.baseline import TrainingDiverged
    from trainers.distributed import World

    world, made = World.joined(), None
    problems: list[str] = []
    try:
        made = prepare(world, get_device())
    except UserError as error:
        problems = list(error.problems)
    # A process that went on alone would wait for the others, and they for it.
    if found := world.gathered(problems):
        return {"problems": list(dict.fromkeys(found))}
    assert made is not None
    try:
        return {"result": train(world, made)}
    except TrainingDiverged as error:
        return {"problems": list(error.problems)}


def _fit(
    loop: Callable[[dict[str, Any]], dict[str, Any]],
    config: dict[str, Any],
    processes: int,
    resources: dict[str, float],
    folder: str,
    alone: bool,
) -> Any:
    """Runs in a Ray process of its own, which takes no CPU."""
    # The processes stay where the others of the run are: their paths may be relative.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from pqsearch.meeting import OneMachine

    shutil.rmtree(folder, ignore_errors=True)  # of a predecessor that was killed
    gpus = resources.get("GPU", 0) > 0
    trainer = TorchTrainer(
        loop,
        train_loop_config=config,
        torch_config=OneMachine(folder=folder, gpus=gpus) if alone else None,
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpus, resources_per_worker=resources),
        run_config=RunConfig(name="run", storage_path=folder, failure_config=FailureConfig(max_failures=RESTARTS)),
    )
    try:
        answer = trainer.fit().return_value
    except TrainingFailedError as error:
        raise RuntimeError(_reason(error)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if problems := answer.get("problems"):
        raise UserError(problems)
    return answer["result"]


def _reason(error: Exception) -> str:
    """Why processes died, each reason once: the last line of what they said."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {0: error})
    lines = [(str(failure).strip().splitlines() or [type(failure).__name__])[-1] for failure in failures.values()]
    return "; ".join(dict.fromkeys(line.strip() for line in lines))
