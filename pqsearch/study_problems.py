"""What is wrong with a study: objectives, populations, where it is kept, a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from pqsearch import rooms
from pqsearch.hidden import hide_passwords
from pqsearch.room_problems import lacking
from pqsearch.samplers import SEVERAL
from pqsearch.store_url import url_problems
from pqsearch.type_problems import fields_of, is_number

#: What can be measured of a plan.
SCORES = ("accuracy", "loss")
#: Options of algorithms that say how many plans they begin with.
POPULATIONS = ("population", "particles", "sources", "ants", "startup", "population_size")
#: Evaluations that find a target: a ladder of limits, and a few steps from there.
FEWEST_FOR_TARGET = 24


def study_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """Of `[study]`, with the algorithm and the target that it has to go with."""
    study, algorithm = data.get("study"), data.get("algorithm", {})
    if not isinstance(study, dict) or not isinstance(algorithm, dict):
        return
    known = fields_of(("study",), root)
    if isinstance(storage := study.get("storage"), str):
        yield from _storage_problems(storage)
    if isinstance(run_dir := study.get("run_dir"), str):
        yield from url_problems(run_dir)
    objectives = study.get("objectives", known["objectives"].default)
    if isinstance(objectives, list) and objectives and all(isinstance(name, str) for name in objectives):
        yield from _objective_problems(objectives, data)
        name = algorithm.get("name", fields_of(("algorithm",), root)["name"].default)
        yield from several_problems(name, len(objectives)) if isinstance(name, str) else ()
    evaluations = study.get("evaluations", known["evaluations"].default)
    if isinstance(target := data.get("target"), dict):
        yield from _target_problems(target, study, objectives, evaluations, data)
    if is_number(evaluations) and evaluations >= 1:
        yield from population_problems(algorithm, evaluations, "algorithm.", "study.")


def population_problems(
    options: Mapping[str, Any], evaluations: int, where: str = "", study: str = ""
) -> Iterator[str]:
    """Populations that are larger than all there is to evaluate; `where` and `study` are the sections' names."""
    for key in POPULATIONS:
        size = options.get(key, 0)
        if is_number(size) and size > evaluations:
            yield f"{where}{key}: must be at most {study}evaluations, which is {evaluations}, got {size}"


def unbred(name: str, options: Mapping[str, Any], evaluations: int) -> str | None:
    """What to say where a population's size that nobody has set is larger than all there is to evaluate."""
    if ":" in name:
        return None
    for option in rooms.signature("algorithms", name):
        size = option.default
        if option.name in POPULATIONS and option.name not in options and size is not None and size > evaluations:
            return (
                f"algorithm.{option.name} is {size} unless it is set, and study.evaluations is {evaluations}: {name} ends "
                f"before it has learned from a first round. Set algorithm.{option.name} lower, or evaluate more."
            )
    return None


def _storage_problems(storage: str) -> Iterator[str]:
    scheme, _, rest = storage.partition("://")
    if scheme not in ("postgresql", "postgres"):
        yield (
            "study.storage: must be postgresql://USER@HOST/DATABASE, or left out for a file in the run directory, got "
            f"{hide_passwords(storage)!r} (the file of the Optuna mirror is study.optuna_log)"
        )
    # Where these stand as they are in a password, other parts of it would be taken for host and port, and be shown.
    elif (
        rest.partition("?")[0].count("@") > 1
        or "@" in rest.partition("/")[2].partition("?")[0]
        or any(letter.isspace() or letter in "\"'" for letter in rest)
    ):
        yield (
            "study.storage: in names and passwords @ is written %40, / is %2F, : is %3A, a space %20 and quotes %22 and %27; "
            "got one that is not"
        )


def _target_problems(
    target: Mapping[str, Any], study: Mapping[str, Any], objectives: Any, evaluations: Any, data: Mapping[str, Any]
) -> Iterator[str]:
    costs, name = rooms.names("budgets"), target.get("minimize")
    if isinstance(name, str) and name not in costs:
        yield f"target.minimize: unknown cost {name!r}{rooms.nearest(name, costs)}, choose from {', '.join(costs)}"
    elif isinstance(name, str) and (problem := lacking(name, data)):
        yield f"target.minimize: {name} {problem}"
    if isinstance(objectives, list) and len(objectives) > 1:
        yield f"target: is for one objective, study.objectives has {len(objectives)}; leave the costs out there"
    if study.get("synchronous") is True:
        yield "target: moves the budget as results arrive, so study.synchronous must be false, got true"
    if study.get("patience") is not None:
        yield f"study.patience: a [target] says itself when it is settled, got {study['patience']}; leave it out"
    if is_number(evaluations) and 1 <= evaluations < FEWEST_FOR_TARGET:
        yield f"study.evaluations: must be at least {FEWEST_FOR_TARGET} with a [target], got {evaluations}"


def _objective_problems(objectives: list[str], data: Mapping[str, Any]) -> Iterator[str]:
    costs = rooms.names("budgets")
    if objectives[0] not in SCORES:
        yield f"study.objectives[0]: must be {' or '.join(map(repr, SCORES))}, got {objectives[0]!r}"
    for index, name in enumerate(objectives):
        if name in objectives[:index]:
            yield f"study.objectives[{index}]: {name!r} is there already; name each objective once"
        elif index and name not in costs:
            yield f"study.objectives[{index}]: unknown cost {name!r}{rooms.nearest(name, costs)}, choose from {', '.join(costs)}"
        elif index and (problem := lacking(name, data)):
            yield f"study.objectives[{index}]: {name} {problem}"


def several_problems(algorithm: str, objectives: int) -> Iterator[str]:
    """Whether an algorithm can search for so many objectives."""
    if objectives > 1 and not _takes_several(algorithm):
        able = [name for name in rooms.names("algorithms") if _takes_several(name)]
        yield f"algorithm.name: {algorithm} searches for one objective, got {objectives}; choose from {', '.join(able)}"


def _takes_several(algorithm: str) -> bool:
    """A user's own algorithm is trusted to."""
    if algorithm.startswith(("optuna:", "tune:")):
        return algorithm.removeprefix("optuna:") in SEVERAL
    if ":" in algorithm or rooms.unknown("algorithms", algorithm):
        return True  # said elsewhere
    return bool(rooms.constants("algorithms", algorithm).get("SEVERAL_OBJECTIVES", False))
