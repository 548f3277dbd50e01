"""A population over a Tune space: which configurations were handed out, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray.tune.utils.util import unflatten_dict

from pqsearch.errors import UserError
from pqsearch.following import Asked, Told, check_algorithm, event_from_json, follow_by_name
from pqsearch.problem import Finished, Outcome, Wait
from pqsearch.tune.spaces import choices_of

Names = str | Sequence[str]


def check_modes(metric: Names | None, mode: Names | None) -> None:
    """Raises `UserError` for a mode that there is not, or that is not one for each metric; what is None is not known yet."""
    if not mode:
        return
    modes = [mode] if isinstance(mode, str) else list(mode)
    metrics = [metric] if isinstance(metric, str) else list(metric or modes)
    if len(modes) != len(metrics) or not set(modes) <= {"min", "max"}:
        each = f", one for each of {metrics}" if metric else ""
        raise UserError(f"mode: must be 'min' or 'max'{each}, got {mode!r}")


class Candidates:
    """`depth` names a result that says how far a trial came: deeper ones outrank all others."""

    def __init__(
        self,
        name: str,
        space: Mapping[str, Any],
        metric: Names,
        mode: Names,
        seed: int,
        options: Mapping[str, Any],
        depth: str | None = None,
    ) -> None:
        self._metrics = [metric] if isinstance(metric, str) else list(metric)
        check_modes(metric, mode)
        modes = [mode] if isinstance(mode, str) else list(mode)
        check_algorithm(name, options, len(self._metrics))
        self._signs = [-1 if one == "max" else 1 for one in modes]
        self._depth, self._seed = depth, seed
        self._choices = choices_of(space)
        self._following = follow_by_name(name, self._choices.box(), seed, options)
        self._asked: dict[int, Asked] = {}
        self._history: list[Asked | Told] = []

    @property
    def number(self) -> int:
        """How many were handed out, which is the number of the next."""
        return len(self._asked)

    def ask(self) -> tuple[int, dict[str, Any]] | Wait | Finished:
        """The next candidate and its part of the configuration."""
        answer = self._following.propose(self.number, self._history)
        return self._hand(answer) if isinstance(answer, Asked) else answer

    def ask_at_random(self) -> tuple[int, dict[str, Any]]:
        """A candidate for who cannot wait."""
        rng = np.random.default_rng((self._seed, self.number))
        return self._hand(Asked(self.number, tuple(rng.integers(0, self._choices.levels).tolist()), {}))

    def tell(self, id: int, result: Mapping[str, Any] | None) -> None:
        """What came of a candidate; None, or a metric that is no finite number, is a failure."""
        self._history.append(Told(id, self._asked[id].genes, self._outcome(result)))

    def add(self, config: Mapping[str, Any], result: Mapping[str, Any] | None) -> None:
        """What someone else has evaluated."""
        genes = self._choices.encode(config)
        if genes is None:
            raise UserError(f"parameters: must be among the values of the space, got {dict(config)}")
        id = self.number
        self._hand(Asked(id, genes, {}))
        self.tell(id, result)

    def rows(self) -> list[dict[str, Any]]:
        """Every candidate: its `config` and its metrics (None before it has them, and when it failed)."""
        told = {event.id: event.outcome for event in self._history if isinstance(event, Told)}
        rows = []
        for id, asked in self._asked.items():
            outcome = told.get(id)
            values = outcome.values if outcome and not outcome.failed else [None] * len(self._metrics)
            metrics = {
                metric: None if value is None else sign * value
                for metric, sign, value in zip(self._metrics, self._signs, values, strict=True)
            }
            rows.append(
                {"id": id, "config": self._config(asked), "failed": bool(outcome and outcome.failed), **metrics}
            )
        return rows

    def best(self) -> dict[str, Any] | None:
        """The best row by the first metric, None where no candidate has it yet."""
        metric, sign = self._metrics[0], self._signs[0]
        return min(
            (row for row in self.rows() if row[metric] is not None), key=lambda row: sign * row[metric], default=None
        )

    def to_json(self) -> dict[str, Any]:
        return {"knobs": self._knobs(), "history": [event.to_json() for event in self._history]}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["knobs"] != self._knobs():
            raise UserError(f"space: must be the saved one, {state['knobs']}, got {self._knobs()}")
        self._history = [event_from_json(row) for row in state["history"]]
        self._asked = {event.id: event for event in self._history if isinstance(event, Asked)}

    def _knobs(self) -> list[list[Any]]:
        return [[name, count] for name, count in zip(self._choices.names, self._choices.levels, strict=True)]

    def _hand(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        self._asked[asked.id] = asked
        self._history.append(asked)
        return asked.id, self._config(asked)

    def _config(self, asked: Asked) -> dict[str, Any]:
        config: dict[str, Any] = unflatten_dict(self._choices.decode(asked.genes))
        return config

    def _outcome(self, result: Mapping[str, Any] | None) -> Outcome:
        found = [(result or {}).get(metric) for metric in self._metrics]
        try:
            values = tuple(sign * float(value) for sign, value in zip(self._signs, found, strict=True))  # type: ignore[arg-type]  # None is a TypeError
        except (TypeError, ValueError):
            return Outcome((), 0, failed=True)
        if not all(map(math.isfinite, values)):
            return Outcome((), 0, failed=True)
        return Outcome(values, int((result or {}).get(self._depth, 0)) if self._depth else 0)
