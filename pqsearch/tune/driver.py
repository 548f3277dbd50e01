"""Run a search on Ray Tune: the study actor, its workers, and a watcher that tells the console."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import ray
from ray import tune

from cluster import local
from pqsearch.errors import SearchAborted, UserError
from pqsearch.plan import ModelInfo
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.tune import actor
from pqsearch.tune.scheduler import PopulationScheduler
from pqsearch.tune.watch import ANSWER_SECONDS, Watcher, ended
from pqsearch.tune.worker import Worker

#: How long an interrupted search waits for the evaluations that are about to end.
WIND_UP_SECONDS = 2.0


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

    Raises `UserError` when the run directory is held by another process, `SearchAborted` when workers cannot start or when
    Ray ends under the search.
    """
    run.push()  # the baseline, from where every machine brings it to itself
    local.connect(local.render(spec, verbose))
    name = actor.name_of(spec)
    study = actor.start(name, spec.to_dict(), run, info.to_json(), baseline)
    try:
        state = _get(study.progress.remote())
        if not (state["finished"] or state["aborted"]):
            with nullcontext() if verbose else _quiet():
                _fit(spec, run, name, study, progress, worker)
            state = _get(study.progress.remote())
        progress({**state, "stage": "search"})
        _get(study.close.remote())
    except (UserError, SearchAborted):
        raise
    except Exception as error:
        if _answers(study):
            raise
        raise SearchAborted(ended("the study does not answer")) from error
    finally:
        with suppress(Exception):  # it may be gone, and Ray with it
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
    resources = {"cpu": spec.workers.cpus, "gpu": spec.workers.gpus, **spec.workers.resources}
    seats = [f"worker-{number}" for number in range(spec.workers.count)]
    scheduler = PopulationScheduler(name)
    tuner = tune.Tuner(
        tune.with_resources(worker, resources),
        param_space={
            "seat": tune.grid_search(seats),
            "study": name,
            "spec": spec.without_passwords().to_dict(),  # Tune writes it down
            "run_dir": run.where,
        },
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
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
    watcher = Watcher(study, progress, scheduler.running)
    try:
        with watcher:
            _wait(tuner, study, watcher)
    except BaseException as error:
        if watcher.ray_answers():
            _give_back(error)
        # What Tune makes of it when Ray goes away under it, an interrupt of ours among them, is not what happened.
        if not watcher.lost:
            raise
    if watcher.lost:
        raise SearchAborted(ended(watcher.lost))


def _give_back(error: BaseException) -> None:
    """Let go of the places that Tune had reserved for workers: it does so when its objects go, which the frames of what it was
    interrupted by would keep. In a Ray that stays, the next search would wait for these places for ever.
    """
    at: BaseException | None = error
    while at is not None:
        traceback.clear_frames(at.__traceback__)
        at = at.__context__
    gc.collect()


def _wait(tuner: tune.Tuner, study: Any, watcher: Watcher) -> None:
    try:
        tuner.fit()
    except KeyboardInterrupt:
        if not watcher.lost:
            # Workers go on until this process ends: what they have finished is taken in, and they begin nothing more.
            with suppress(Exception):
                ray.get(study.wind_up.remote(WIND_UP_SECONDS), timeout=ANSWER_SECONDS)
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """A worker that dies is told in a line (`scheduler`); Tune would print where in Tune it was noticed."""
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _answers(study: Any) -> bool:
    """Whether the study is still there: then what went wrong is not Ray's end."""
    try:
        ray.get(study.progress.remote(), timeout=ANSWER_SECONDS)
    except Exception:
        return False
    return True


def _get(reference: Any) -> Any:
    """`ray.get` that raises what the actor raised, not Ray's wrapping of it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
