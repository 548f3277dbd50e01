"""Our algorithms as searchers of Tune's, one trial a candidate, in a Tuner of the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.variant_generator import parse_spec_vars

from pqsearch.errors import UserError
from pqsearch.following import check_algorithm
from pqsearch.problem import Finished, Wait
from pqsearch.tune.candidates import Candidates, Names, check_modes


def as_searcher(
    name: str,
    space: Mapping[str, Any] | None = None,
    *,
    metric: Names | None = None,
    mode: Names | None = None,
    time_attr: str | None = None,
    seed: int = 0,
    **options: Any,
) -> Searcher:
    """A searcher for `tune.TuneConfig(search_alg=...)`; `name` and `options` are those of the spec's `[algorithm]`.

    What is not given here comes from the Tuner: `metric` and `mode` from its TuneConfig, the space from its `param_space`.
    Beside a scheduler that stops trials early, `time_attr` (`"training_iteration"`) makes those that came further outrank
    the others.
    """
    return _Searcher(name, space, metric, mode, time_attr, seed, options)


class _Searcher(Searcher):
    def __init__(
        self,
        name: str,
        space: Mapping[str, Any] | None,
        metric: Names | None,
        mode: Names | None,
        time_attr: str | None,
        seed: int,
        options: Mapping[str, Any],
    ) -> None:
        check_modes(metric, mode)
        check_algorithm(name, options, seed=seed)
        super().__init__(metric=metric, mode=mode)
        self._metric, self._mode = metric, mode
        self._name, self._space, self._seed, self._options, self._time_attr = name, space, seed, options, time_attr
        self._ids: dict[str, int] = {}
        self._made: Candidates | None = None
        self._saved: dict[str, Any] | None = None
        if space is not None and metric and mode:
            self._candidates()

    def set_search_properties(
        self, metric: Names | None, mode: Names | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        self._metric, self._mode = self._metric or metric, self._mode or mode
        if self._space is None:
            self._space = config
        elif any(parse_spec_vars(config)[1:]):
            return False  # two spaces: Tune says so
        self._candidates()
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        answer = self._candidates().ask()
        if isinstance(answer, Wait):
            return None
        if isinstance(answer, Finished):
            return Searcher.FINISHED
        self._ids[trial_id], config = answer
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        id = self._ids.pop(trial_id, None)
        if id is not None:
            self._candidates().tell(id, None if error else result)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        candidates = self._candidates()
        (metric, *others) = [self._metric] if isinstance(self._metric, str) else list(self._metric or ())
        if others:
            raise UserError(
                f"value: is one number, but the metrics are {[metric, *others]}; evaluate the point as a trial"
            )
        candidates.add(parameters, None if error or pruned else {metric: value})

    def save(self, checkpoint_path: str) -> None:
        state = {"ids": self._ids, **self._candidates().to_json()}
        Path(checkpoint_path).write_text(json.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        self._saved = json.loads(Path(checkpoint_path).read_text())
        self._ids = self._saved.pop("ids")
        if self._made is not None:
            self._made.restore(self._saved)

    def _candidates(self) -> Candidates:
        """Made once space, metric and mode are known, from here or from the Tuner."""
        if self._made is None:
            space, metric, mode = self._space, self._metric, self._mode
            if not space or not metric or not mode:
                missing = "space" if not space else "metric" if not metric else "mode"
                raise UserError(f"{missing}: is required by as_searcher unless the Tuner has it, got nothing")
            self._made = Candidates(self._name, space, metric, mode, self._seed, self._options, self._time_attr)
            if self._saved is not None:
                self._made.restore(self._saved)
        return self._made
