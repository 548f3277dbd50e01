"""A scheduler under which a few long-lived trials of the user's own Trainable evaluate a whole population.

A trial is a seat: after each candidate its Trainable gets the next one through Tune's own `reset`, in place. Pausing and
resuming it, as Tune's population-based training does, would end the actor each time: Tune keeps actors of paused trials
only while it has more trials to start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.trainable import FunctionTrainable, Trainable
from ray.tune.utils.util import merge_dicts

from pqsearch.errors import UserError
from pqsearch.following import at_least, check_algorithm
from pqsearch.problem import Finished, Wait
from pqsearch.study_problems import population_problems
from pqsearch.tune.candidates import Candidates, Names, check_modes

log = logging.getLogger(__name__)
#: Seats that may die in a row, without a result between them, before the search gives up.
MOST_DEATHS = 10


def as_scheduler(
    name: str,
    space: Mapping[str, Any],
    *,
    evaluations: int,
    metric: Names | None = None,
    mode: Names | None = None,
    steps: int = 1,
    seed: int = 0,
    **options: Any,
) -> Population:
    """A scheduler for `tune.TuneConfig(scheduler=..., num_samples=<seats>)`.

    The Trainable is a class whose `reset_config(new_config)` takes the next candidate and returns True. A candidate is
    worth what the last of `steps` results says. `metric` and `mode` come from the TuneConfig unless they are given.
    """
    problems = [*at_least(1, evaluations=evaluations, steps=steps)] or [*population_problems(options, evaluations)]
    if problems:
        raise UserError(problems)
    check_modes(metric, mode)
    check_algorithm(name, options, seed=seed)
    return Population(name, space, evaluations, metric, mode, steps, seed, options)


class Population(TrialScheduler):
    """Construct it with `as_scheduler`; `rows` and `best` say afterwards what was found."""

    #: Results that arrive in batches would be of one candidate, evaluated again and again.
    _supports_buffered_results = False

    def __init__(
        self,
        name: str,
        space: Mapping[str, Any],
        evaluations: int,
        metric: Names | None,
        mode: Names | None,
        steps: int,
        seed: int,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self._arguments = name, space, seed, options
        self._metric: Names | None = metric
        self._mode: Names | None = mode
        self._evaluations, self._steps = evaluations, steps
        self._made: Candidates | None = None
        self._seats: dict[str, int] = {}  # by trial, the candidate that it holds
        self._results: dict[str, int] = {}  # by trial, how many it gave for that candidate
        self._resets: dict[str, Any] = {}  # by trial, the answer of its Trainable to the candidate
        self._deaths = 0
        if metric and mode:
            self._candidates()

    def rows(self) -> list[dict[str, Any]]:
        """Every candidate with its `config`, its metrics (None where it has none) and `failed`."""
        return self._candidates().rows()

    def best(self) -> dict[str, Any] | None:
        """The best row by the (first) metric; None where none succeeded."""
        return self._candidates().best()

    def set_search_properties(self, metric: Names | None, mode: Names | None, **spec: Any) -> bool:
        if (self._metric and metric) or (self._mode and mode):
            return False  # two of them: Tune says so
        self._metric, self._mode = self._metric or metric, self._mode or mode
        self._candidates()
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        trainable = trial.get_trainable_cls()
        if issubclass(trainable, FunctionTrainable) or trainable.reset_config is Trainable.reset_config:
            raise UserError(
                f"{trial.trainable_name}: must be a class whose reset_config takes the next candidate and returns True; "
                "as_searcher is for functions and for other classes"
            )
        if not trial.is_finished():
            self._give(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """The candidate failed. Where the FailureConfig allows, Tune adds the trial again: its seat goes on."""
        self._deaths += 1
        self._take(trial, None)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        reached = self._reached(trial)
        self._results[trial.trial_id] = self._results.get(trial.trial_id, 0) + 1
        if reached and self._results[trial.trial_id] < self._steps:
            return TrialScheduler.CONTINUE
        self._take(trial, result if reached else None)
        self._deaths = 0
        if not self._give(trial):
            return TrialScheduler.STOP
        # An actor works in order: it takes the candidate before the next step that Tune asks for.
        actor = trial.temporary_state.ray_actor
        self._resets[trial.trial_id] = actor.reset.remote(dict(trial.config), storage=trial.storage)
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """It ended by itself, or a stopper ended it: its last result still counts, and the seat is gone."""
        self._take(trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A seat that never started."""
        self._seats.pop(trial.trial_id, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        waiting = [trial for trial in tune_controller.get_trials() if trial.status in (Trial.PENDING, Trial.PAUSED)]
        for trial in waiting:
            if trial.trial_id not in self._seats:
                trial.init_local_path()  # Tune's results ask every trial for its folder
                tune_controller.stop_trial(trial)  # nothing is left for it
        return next((trial for trial in waiting if trial.trial_id in self._seats), None)

    def debug_string(self) -> str:
        return f"pqsearch: {self._candidates().number} of {self._evaluations} candidates"

    def _give(self, trial: Trial) -> bool:
        """The next candidate becomes the trial's configuration; False when there is none."""
        candidates = self._candidates()
        if self._deaths >= MOST_DEATHS:
            log.error("%d trials died in a row: the search ends; their error files say why", self._deaths)
            return False
        answer = candidates.ask() if candidates.number < self._evaluations else Finished()
        if isinstance(answer, Finished):
            return False
        id, config = candidates.ask_at_random() if isinstance(answer, Wait) else answer
        self._seats[trial.trial_id] = id
        trial.set_config(merge_dicts(trial.config, config))
        return True

    def _take(self, trial: Trial, result: Mapping[str, Any] | None) -> None:
        id = self._seats.pop(trial.trial_id, None)
        self._results.pop(trial.trial_id, None)
        self._resets.pop(trial.trial_id, None)
        if id is not None:
            self._candidates().tell(id, result)

    def _reached(self, trial: Trial) -> bool:
        """Whether the Trainable took the candidate that this result is of."""
        reset = self._resets.pop(trial.trial_id, None)
        try:
            taken = reset is None or ray.get(reset)
        except ray.exceptions.RayError:
            return False  # `reset_config` failed on it; the step after that was of the one before
        if not taken:
            raise UserError(
                f"{trial.trainable_name}.reset_config: must take the next candidate and return True, got {taken!r}"
            )
        return True

    def _candidates(self) -> Candidates:
        """Made once metric and mode are known, from here or from the TuneConfig."""
        if self._made is None:
            metric, mode = self._metric, self._mode
            if not metric or not mode:
                missing = "mode" if metric else "metric"
                raise UserError(f"{missing}: is required by as_scheduler unless the TuneConfig has it, got nothing")
            name, space, seed, options = self._arguments
            self._made = Candidates(name, space, metric, mode, seed, options)
        return self._made
