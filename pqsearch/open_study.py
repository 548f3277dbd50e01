"""Put a study together from a spec: space, algorithm, journal, seeds. The journal is locked while open."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pqsearch import environment, rooms
from pqsearch.algorithm_of import algorithm_of
from pqsearch.algorithms._integer_program import least_damage
from pqsearch.journal.optuna_mirror import Mirror
from pqsearch.journal.place import Journal
from pqsearch.journal.record import Event
from pqsearch.latency_file import digest
from pqsearch.plan import ModelInfo
from pqsearch.plan_file import given_plans, read_recipe
from pqsearch.probing import Probe, Probing
from pqsearch.problem import IntArray, Prior, Proposal, uniform_genes
from pqsearch.run_dir import RunDirectory
from pqsearch.same_spec import FREE_KEYS, LATER_SPACE_KEYS
from pqsearch.settings import Settings
from pqsearch.space_of import latency_of, space_of
from pqsearch.spec import Spec
from pqsearch.spec_search import SpaceSpec
from pqsearch.study import Study
from pqsearch.study_problems import POPULATIONS
from pqsearch.target import Target
from search_spaces.space import Space

log = logging.getLogger(__name__)

#: Uniform plans are compared with, not searched: a few of the dearest say all there is to say.
MOST_UNIFORM = 4
#: More than any plan costs.
UNLIMITED = 1e18
#: Plans of the integer program: those of further linearisations hardly differ.
MOST_ILP = 2


@dataclass
class OpenedStudy:
    """A study, its mirror, and the journal, which is this process's until it is closed."""

    study: Study
    mirror: Mirror
    journal: Journal

    def close(self) -> None:
        self.journal.close()


def open_study(spec: Spec, run: RunDirectory, info: ModelInfo, baseline: str) -> OpenedStudy:
    """Open or reopen the study of a run. `baseline` is a digest of the weights that plans start from.

    Raises `UserError` when another process holds the journal or when it belongs to something else.
    """
    journal, events, torn = run.journal.open(time.time)
    with ExitStack() as undo:
        undo.callback(journal.close)
        study = make_study(spec, info, journal, time.time, events, fingerprint(spec, info, baseline))
        log_file = Path(spec.study.optuna_log) if spec.study.optuna_log else run.optuna
        space = study.space
        names = [f"{row.kind}/{row.name}" for row in space.table.rows]
        mirror = Mirror(log_file, spec.study.name, space, names, objectives=spec.study.objectives)
        if torn:
            log.warning("the last line of %s was torn and is dropped: that event had not been acted on", journal.where)
        undo.pop_all()  # from here on the caller closes
    return OpenedStudy(study, mirror, journal)


def make_study(
    spec: Spec,
    info: ModelInfo,
    journal: Journal,
    clock: Callable[[], float],
    events: Sequence[Event] = (),
    belongs_to: Mapping[str, Any] | None = None,
) -> Study:
    """The study of a spec on a journal that holds `events`; `belongs_to` is what another journal of it must agree with."""
    target = target_of(spec, info)
    space = space_of(spec, info) if target is None else target.start
    informed = _Informed(space)
    return Study(
        space,
        lambda prior: algorithm_of(spec.algorithm, informed.by(prior), spec.study.seed),
        journal,
        settings(spec),
        clock,
        events=events,
        seeds=given_plans(spec.study.plans, space) + _first(spec, space, target),
        probing=probing(spec, space),
        informed_seeds=lambda prior: informed_seeds(informed.by(prior)) if target is None else target.ladder(prior),
        target=target,
        fingerprint=belongs_to,
        versions=environment.versions(),
    )


def target_of(spec: Spec, info: ModelInfo) -> Target | None:
    """What moves the budget of a spec with a `[target]`."""
    asked = spec.target
    if asked is None:
        return None
    latency = latency_of(spec, info)  # read once for all limits

    def at(limit: float) -> Space:
        return space_of(spec.model_copy(update={"budgets": {**spec.budgets, asked.minimize: limit}}), info, latency)

    low, high = at(spec.budgets.get(asked.minimize, UNLIMITED)).reach()[asked.minimize]
    return Target(
        asked.max_drop,
        asked.minimize,
        at,
        lambda space: algorithm_of(spec.algorithm, space, spec.study.seed),
        low,
        min(high, spec.budgets.get(asked.minimize, high)),
    )


def _first(spec: Spec, space: Space, target: Target | None) -> list[Proposal]:
    """The seeds that need no prior. The ladder of a target waits for it where one is on its way."""
    if target is None:
        return seeds(space)
    return target.seeds() + (target.ladder(None) if spec.sensitivity.source == "none" else [])


def settings(spec: Spec) -> Settings:
    return Settings(
        seed=spec.study.seed,
        evaluations=spec.study.evaluations,
        rungs=len(spec.rungs),
        confirm=spec.study.confirm,
        confirm_repeats=spec.study.confirm_repeats,
        retest=spec.study.retest,
        hours=spec.study.hours,
        objectives=tuple(spec.study.objectives),
        generation=generation(spec) if spec.study.synchronous else None,
        target=spec.target.model_dump() if spec.target is not None else None,
        halving=spec.halving.model_dump() if spec.halving is not None else None,
        patience=spec.study.patience,
        budgets=dict(spec.budgets),
        algorithm={"name": spec.algorithm.name, **spec.algorithm.options},
    )


def generation(spec: Spec) -> int:
    """Candidates of a generation: the algorithm's own number, or one for each worker where it has none."""
    name, options = spec.algorithm.name, spec.algorithm.options
    known = {option.name: option.default for option in rooms.signature("algorithms", name)} if ":" not in name else {}
    sizes = [size for key in POPULATIONS if (size := options.get(key, known.get(key)))]
    return int(sizes[0]) if sizes else spec.workers.count


def seeds(space: Space) -> list[Proposal]:
    """The honest baselines: the dearest uniform plans under the budgets, and their copies with the slack filled."""
    uniform = uniform_genes(space)
    if not len(uniform):
        return []
    # The most bit operations first: where budgets trade, that is the one to beat.
    order = np.argsort(-_effort(space, uniform), kind="stable")
    if space.spared:
        # Where a cost is an objective, plans from one end of it to the other.
        order = order[np.linspace(0, len(order) - 1, min(len(order), MOST_UNIFORM)).round().astype(np.int64)]
    uniform = uniform[order[:MOST_UNIFORM]]
    filled = space.repair(uniform)
    plain = [Proposal(tuple(map(int, genes)), {"role": "uniform"}, exact=True) for genes in uniform]
    return plain + [Proposal(tuple(map(int, genes)), {"role": "uniform_filled"}) for genes in filled]


def probing(spec: Spec, space: Space) -> Probing | None:
    """What is found out before the algorithm begins, None for nothing."""
    source = spec.sensitivity.source
    if source == "none":
        return None
    return Probing(source, space.levels, [Probe(*row) for row in space.changes()])


def informed_seeds(space: Space) -> list[Proposal]:
    """The plans of least expected damage of a space that knows what to expect."""
    assert space.planned is not None
    return [Proposal(tuple(map(int, genes)), {"role": "sensitivity_ilp"}) for genes in space.planned[:MOST_ILP]]


class _Informed:
    """A space with what is known of it. The integer program takes seconds, and both seeds and algorithm begin from its plans."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._known: tuple[Prior | None, Space] = None, space

    def by(self, prior: Prior | None) -> Space:
        """The space with that prior, and the plans of least damage by it."""
        if prior is not self._known[0]:
            planned = None if prior is None else least_damage(self._space, prior)
            self._known = prior, self._space.with_prior(prior, planned)
        return self._known[1]


def _effort(space: Space, genes: IntArray) -> Any:
    return np.array([costs["bitops"] for costs in space.all_costs(genes)])


def fingerprint(spec: Spec, info: ModelInfo, baseline: str) -> dict[str, Any]:
    """What a journal's evaluations depend on; a journal of another one is refused."""
    text = json.dumps(info.to_json(), sort_keys=True)
    values = {
        section: values
        for section, values in spec.to_dict().items()
        if section in ("data", "space", "target", "sensitivity", "rungs", "quantizer", "calibration", "pruning")
        and section not in FREE_KEYS
    }
    values.get("data", {}).pop("cache", None)
    for key in LATER_SPACE_KEYS:
        if values["space"][key] == SpaceSpec.model_fields[key].default:
            del values["space"][key]
    if spec.study.plans:
        values["study.plans"] = [read_recipe(path)[0].hash for path in spec.study.plans]
    if spec.latency.table is not None:
        values["latency.table"] = digest(spec.latency.table)
    return {
        **values,
        "study.seed": spec.study.seed,
        "study.synchronous": spec.study.synchronous,
        "study.objectives": spec.study.objectives,
        "model": hashlib.sha256(text.encode()).hexdigest()[:16],
        "baseline": baseline,
    }
