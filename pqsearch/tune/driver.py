"""Run a search on Ray Tune: the study actor, its workers, and a watcher that tells the console."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from cluster import local
from pqsearch.errors import SearchAborted
from pqsearch.plan import ModelInfo
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.tune import actor
from pqsearch.tune.scheduler import PopulationScheduler
from pqsearch.tune.worker import Worker

WATCH_SECONDS = 1.0


def search(
    spec: Spec,
    run: RunDirectory,
    info: ModelInfo,
    baseline: str,
    progress: Callable[[dict[str, Any]], None],
    verbose: bool = False,
    worker: type[Worker] = Worker,
) -> dict[str, Any]:
    """Search until the study is over, with workers of a kind; returns its last progress.

    Raises `UserError` when the run directory is held by another process, `SearchAborted` when workers cannot start.
    """
    local.connect(local.render(spec, verbose))
    name = f"study-{uuid.uuid4().hex}"
    study = actor.start(name, spec.to_dict(), run, info.to_json(), baseline)
    try:
        state = _get(study.progress.remote())
        if not (state["finished"] or state["aborted"]):
            _fit(spec, run, name, study, progress, worker)
            state = _get(study.progress.remote())
        progress({**state, "stage": "search"})
        _get(study.close.remote())
    finally:
        ray.kill(study)
    if state["aborted"]:
        raise SearchAborted(state["aborted"])
    if not state["finished"]:
        raise SearchAborted("the workers ended before the search did; logs/ray_tune in the run directory says why")
    return state


def _fit(
    spec: Spec,
    run: RunDirectory,
    name: str,
    study: Any,
    progress: Callable[[dict[str, Any]], None],
    worker: type[Worker],
) -> None:
    resources = {"cpu": spec.workers.cpus, "gpu": spec.workers.gpus}
    seats = [f"worker-{number}" for number in range(spec.workers.count)]
    tuner = tune.Tuner(
        tune.with_resources(worker, resources),
        param_space={
            "seat": tune.grid_search(seats),
            "study": name,
            "spec": spec.without_passwords().to_dict(),  # Tune writes it down
            "run_dir": str(run.path),
        },
        tune_config=tune.TuneConfig(
            scheduler=PopulationScheduler(name),
            trial_dirname_creator=lambda trial: str(trial.config["seat"]),
            trial_name_creator=lambda trial: str(trial.config["seat"]),
        ),
        run_config=tune.RunConfig(
            name=time.strftime("%Y%m%d-%H%M%S"),
            storage_path=str(run.logs / "ray_tune"),
            failure_config=tune.FailureConfig(max_failures=-1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(study, progress, over), daemon=True)
    watcher.start()
    try:
        tuner.fit()
    finally:
        over.set()
        watcher.join(timeout=10)


def _watch(study: Any, progress: Callable[[dict[str, Any]], None], over: threading.Event) -> None:
    while not over.wait(WATCH_SECONDS):
        try:
            progress({**ray.get(study.progress.remote(), timeout=30), "stage": "search"})
        except ray.exceptions.RayError:
            continue  # the actor is restarting, or the driver is ending: the next round sees


def _get(reference: Any) -> Any:
    """`ray.get` that raises what the actor raised, not Ray's wrapping of it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
