"""What an Optuna study holds, as the events that an algorithm folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pqsearch.choices import Choices, stepped
from pqsearch.errors import UserError
from pqsearch.following import Asked, Told
from pqsearch.problem import Genes, Outcome

#: The system attribute in which a trial keeps what it was handed out with.
NOTE = "pqsearch"

_Row = tuple[datetime, int, bool, Asked | Told]


def values_of(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """The values of a parameter, in order. Raises `UserError` for a scale that has no list of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution) and not distribution.log:
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return stepped(name, distribution.low, distribution.high, distribution.step)
    scale = "a log scale" if getattr(distribution, "log", False) else "a float without a step"
    raise UserError(
        f"{name}: must have a list of values, got {scale}; give it a step, or use suggest_categorical with the values in order"
    )


class History:
    """Reads the trials of a study. `note` is what trials of this algorithm on these knobs keep; other notes are foreign."""

    def __init__(self, choices: Choices, algorithm: str) -> None:
        self._choices = choices
        self._of = [algorithm, *([name, count] for name, count in zip(choices.names, choices.levels, strict=True))]
        # A trial that has ended changes no more, and reading it is where the time goes.
        self._ended: dict[tuple[Any, ...], list[_Row]] = {}
        self._whole = 0

    def note(self, asked: Asked) -> dict[str, Any]:
        return {"of": self._of, "genes": list(asked.genes), "memo": asked.memo}

    def events(self, trials: Sequence[FrozenTrial], signs: Sequence[int]) -> list[Asked | Told]:
        """In the order in which they happened, by the storage's own times: every process then folds the same."""
        # A pruned trial is known from less than a whole one, and ranks behind it.
        whole = int(any(trial.state == TrialState.PRUNED for trial in trials))
        if whole != self._whole:
            self._whole, self._ended = whole, {}
        rows = [row for trial in trials for row in self._rows(trial, signs)]
        return [event for *_, event in sorted(rows, key=lambda row: row[:3])]

    def _rows(self, trial: FrozenTrial, signs: Sequence[int]) -> list[_Row]:
        """The events of a trial, with when they were."""
        key = trial.number, trial.datetime_start, trial.datetime_complete
        if key in self._ended:
            return self._ended[key]
        rows: list[_Row] = []
        known, began, ended = self._known(trial), trial.datetime_start, trial.datetime_complete
        if known is not None and began is not None:
            rows.append((began, trial.number, False, Asked(trial.number, *known)))
            if trial.state.is_finished() and ended is not None:
                told = Told(trial.number, known[0], _outcome(trial, signs, self._whole))
                rows.append((max(began, ended), trial.number, True, told))
        if trial.state.is_finished():
            self._ended[key] = rows
        return rows

    def _known(self, trial: FrozenTrial) -> tuple[Genes, dict[str, Any]] | None:
        """Genes and memo of a trial; None where it says nothing about these knobs (yet)."""
        note: Mapping[str, Any] | None = trial.system_attrs.get(NOTE)
        if note is None or note["of"] != self._of:
            genes = self._choices.encode(trial.params) if trial.state.is_finished() else None
            return None if genes is None else (genes, {})
        handed = tuple(note["genes"])
        if not trial.state.is_finished():
            return handed, note["memo"]
        # An objective need not ask for every parameter, and enqueued ones override what was handed out.
        genes = self._choices.encode({**self._choices.decode(handed), **trial.params})
        if genes is None:
            return None
        return genes, note["memo"] if genes == handed else {}


def _outcome(trial: FrozenTrial, signs: Sequence[int], whole: int) -> Outcome:
    """What a trial that has ended was worth; with a value that is no finite number it failed, whatever Optuna says."""
    values: Sequence[float] = ()
    if trial.state == TrialState.COMPLETE:
        values, rung = trial.values, whole
    elif trial.state == TrialState.PRUNED and trial.last_step is not None:
        values, rung, signs = [trial.intermediate_values[trial.last_step]], 0, signs[:1]
    if not values or not all(map(math.isfinite, values)):
        return Outcome((), 0, failed=True)
    return Outcome(tuple(sign * value for sign, value in zip(signs, values, strict=True)), rung)
