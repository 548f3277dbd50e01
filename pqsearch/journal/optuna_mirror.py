"""A live copy of the study in an Optuna storage, for optuna-dashboard and Optuna's own tools.

It is a view and may lag; the journal is the truth. At every opening it is written anew into another file and swapped in,
since a storage whose last record was torn loses the record behind it too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pqsearch.problem import Problem

STATES = {"done": TrialState.COMPLETE, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}


class Mirror:
    """Follows the candidates of a study into the journal storage at `path`."""

    def __init__(
        self, path: Path, name: str, problem: Problem, names: Sequence[str], objectives: Sequence[str]
    ) -> None:
        self._path = path
        self._name = name
        self._objectives = list(objectives)
        self._directions = [
            StudyDirection.MAXIMIZE if objective == "accuracy" else StudyDirection.MINIMIZE for objective in objectives
        ]
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(values)) for name, values in zip(names, problem.values, strict=True)
        }
        self._values = problem.values
        self._known: set[int] = set()
        self._storage: JournalStorage | None = None
        self._study = -1

    def follow(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Add those of `candidates` that have ended and are not there yet."""
        fresh = [row for row in candidates if row["state"] in STATES and row["id"] not in self._known]
        if self._storage is None:
            self._rebuild(fresh)
        else:
            self._add(self._storage, self._study, fresh)

    def _rebuild(self, rows: Sequence[Mapping[str, Any]]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        temporary = self._path.with_name(f".{self._path.name}-new")
        for leftover in (temporary, *self._locks(temporary), *self._locks(self._path)):
            leftover.unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(temporary)))
        study = storage.create_new_study(self._directions, study_name=self._name)
        self._add(storage, study, rows)
        temporary.replace(self._path)
        self._storage = JournalStorage(JournalFileBackend(str(self._path)))
        self._study = self._storage.get_study_id_from_name(self._name)

    def _add(self, storage: JournalStorage, study: int, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            storage.create_new_trial(study, template_trial=self._trial(row))
            self._known.add(row["id"])

    def _trial(self, row: Mapping[str, Any]) -> FrozenTrial:
        done = row["state"] == "done"
        measured = [entry for entry in row["measurements"] if entry["repeat"] == 0]
        score, *costs = self._objectives
        values = [] if not done else [measured[-1][score], *(row["costs"][name] for name in costs)]
        params = {
            name: self._values[knob][level]
            for knob, (name, level) in enumerate(zip(self._distributions, row["genes"], strict=True))
        }
        now = datetime.fromtimestamp(row["ended"])
        return FrozenTrial(
            number=-1,  # the storage numbers it
            trial_id=-1,
            state=STATES[row["state"]],
            value=None,
            values=values or None,
            datetime_start=datetime.fromtimestamp(row["began"]),
            datetime_complete=now,
            params=params,
            distributions=self._distributions,
            user_attrs={name: row[name] for name in ("id", "plan_hash", "costs", "worker", "role", "failure")},
            system_attrs={},
            # Optuna has intermediate values for one objective only.
            intermediate_values={} if costs else {entry["rung"]: entry[score] for entry in measured},
        )

    @staticmethod
    def _locks(path: Path) -> list[Path]:
        with contextlib.suppress(OSError):
            return list(path.parent.glob(f"{path.name}.lock*"))
        return []
