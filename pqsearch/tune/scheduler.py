"""The population's scheduler: which workers run. What they evaluate is the study's business."""

from __future__ import annotations

import logging
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

log = logging.getLogger(__name__)


class PopulationScheduler(TrialScheduler):
    """Starts a worker wherever capacity appears, hands a dead one's candidate back, stops all when the study is over."""

    def __init__(self, study: str) -> None:
        super().__init__()
        self._study_name = study
        self._failed_once = False
        self._trials: dict[str, Trial] = {}

    def running(self) -> dict[str, Any]:
        """The actors of workers that have begun, by seat."""
        actors = {
            seat: trial.temporary_state.ray_actor
            for seat, trial in list(self._trials.items())
            if trial.status == Trial.RUNNING
        }
        return {seat: actor for seat, actor in actors.items() if actor is not None}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A seat is known to the study when its worker joins."""
        self._trials[str(trial.config["seat"])] = trial

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._failed_once = True
        seat = trial.config["seat"]
        log.warning("%s has died; what it worked on is handed out again, and another takes its seat", seat)
        ray.get(self._study().leave.remote(seat, None, "the worker died", died=True))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A worker completes when the study has told it that nothing is left."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A worker that never started has no candidate to hand back."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        pending = [trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING]
        if not pending:
            return None
        # Tune would restart a worker that cannot set up for ever; the study has counted and says when to stop.
        if self._failed_once and self._over():
            for trial in pending:
                tune_controller.stop_trial(trial)
            return None
        return pending[0]

    def debug_string(self) -> str:
        return "pqsearch workers"

    def _over(self) -> bool:
        progress = ray.get(self._study().progress.remote())
        return bool(progress["aborted"] or progress["finished"])

    def _study(self) -> Any:
        return ray.get_actor(self._study_name)
