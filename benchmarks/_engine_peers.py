"""What `engine.py` compares with: evaluations that only take time, through Ray Tune and Optuna as they are usually used.

Every peer searches one number, which costs its sampler less than a plan of fifty knobs would.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from _times import Times, read, sleep
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from cluster import local
from pqsearch.spec import parse_spec

#: Takes the number of workers, that of evaluations, and the seconds of each.
Peer = Callable[[int, int, float], Times]


def tune_by_trials(workers: int, evaluations: int, seconds: float) -> Times:
    """Every candidate a Tune trial of its own, drawn at random, actors reused."""
    return _through_tune(workers, evaluations, seconds, None)


def tune_with_optuna(workers: int, evaluations: int, seconds: float) -> Times:
    """The same, proposed by Optuna's TPE through Tune's OptunaSearch."""
    return _through_tune(workers, evaluations, seconds, OptunaSearch(metric="loss", mode="min"))


def optuna_processes(workers: int, evaluations: int, seconds: float) -> Times:
    """Processes that each call `study.optimize` (TPE) on one journal file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).with_name("_optuna_process.py")), folder]
        started = [subprocess.Popen([*command, str(evaluations), str(seconds)]) for _ in range(workers)]
        ended = [one.wait() for one in started]
        if any(ended):
            raise RuntimeError("a process of Optuna's failed, see above")
        return read(folder)


PEERS: dict[str, Peer] = {
    "Ray Tune, a trial per candidate, actors reused": tune_by_trials,
    "Ray Tune + OptunaSearch": tune_with_optuna,
    "Optuna, processes on a journal": optuna_processes,
}


def _through_tune(workers: int, evaluations: int, seconds: float, proposing: OptunaSearch | None) -> Times:
    class One(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            """Nothing to load."""

        def step(self) -> dict[str, Any]:
            sleep(folder, seconds)
            return {"loss": self.config["x"], "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """There is nothing to save."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nor to load."""

    spec = parse_spec(
        {
            "study": {"name": "peer"},
            "data": {"name": "digits"},
            "model": {"name": "digits_net"},
            "workers": {"count": workers, "cpus": 2 / workers},
        }
    )
    local.connect(local.render(spec))
    try:
        with tempfile.TemporaryDirectory() as folder:
            tune.Tuner(
                tune.with_resources(One, {"cpu": 2 / workers}),
                param_space={"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(
                    num_samples=evaluations, max_concurrent_trials=workers, reuse_actors=True, search_alg=proposing
                ),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()
            return read(folder)
    finally:
        ray.shutdown()
