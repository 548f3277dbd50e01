"""What is wrong with a spec, in words: one line per problem with the field, the value and what would be right."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.own import load_own, own_options
from pqsearch.plan import FLOAT_BITS, GROUP_KNOBS, LAYER_KNOBS, SHARES
from pqsearch.process_problems import process_problems
from pqsearch.samplers import SEVERAL, sampler_problems
from pqsearch.searchers import searcher_problems
from pqsearch.sparsity import BLOCKS, WORDS, Pattern, pattern_of
from pqsearch.store_url import url_problems

#: What can be measured of a plan.
SCORES = ("accuracy", "loss")
#: Options of algorithms that say how many plans they begin with.
POPULATIONS = ("population", "particles", "sources", "ants", "startup", "population_size")
#: Evaluations that find a target: a ladder of limits, and a few steps from there.
FEWEST_FOR_TARGET = 24
#: Resources that Ray counts by itself.
RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")
KNOBS = (*GROUP_KNOBS, *LAYER_KNOBS)


def validation_problems(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    for entry in error.errors(include_url=False):
        loc, kind, got = entry["loc"], entry["type"], entry["input"]
        where = _where(loc)
        if kind == "extra_forbidden":
            known = list(_fields(loc[:-1], root))
            close = difflib.get_close_matches(str(loc[-1]), known, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            yield f"{where}: unknown key{hint}, choose from {', '.join(known)}"
        elif kind == "missing":
            field = _field(loc, root)
            meaning = f" ({field.description})" if field and field.description else ""
            yield f"{where}: is required{meaning}, got nothing"
        elif kind == "string_pattern_mismatch":
            yield f"{where}: may hold letters, digits, '.', '_' and '-' and starts with a letter or digit, got {got!r}"
        else:
            # `[space.pin.layer1.0.conv1]` is four tables in TOML, not a layer's name.
            hint = (
                '; quote names with dots, as in [space.pin."layer1.0.conv1"]'
                if where.count(".") > 2 and isinstance(got, dict)
                else ""
            )
            yield f"{where}: {_requirement(kind, entry, _field(loc, root))}, got {hide_passwords(repr(got))}{hint}"


def _requirement(kind: str, entry: Any, field: FieldInfo | None) -> str:
    context = entry.get("ctx", {})
    if kind.startswith(("greater_than", "less_than")):
        return f"must be {value_range(field)}" if field else entry["msg"]
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "too_short":
        return "must not be empty"
    if kind == "finite_number":
        return "must be a finite number"
    words = {
        "int": "a whole number", "float": "a number", "string": "a text", "bool": "true or false",
        "list": "a list", "dict": "a table", "model": "a table (a [section])", "output": "a name, or an index from 0",
    }  # fmt: skip
    return f"must be {words.get(kind.split('_')[0], kind)}"


def value_range(field: FieldInfo) -> str:
    """The legal range of a numeric field: `in (0, 1]`, `at least 1`; empty without one."""
    bounds: dict[str, float] = {}
    for item in field.metadata:
        bounds.update({key: getattr(item, key) for key in ("gt", "ge", "lt", "le") if hasattr(item, key)})
    if not bounds:
        return ""
    low, high = bounds.get("gt", bounds.get("ge")), bounds.get("lt", bounds.get("le"))
    if low is None:
        return f"{'below' if 'lt' in bounds else 'at most'} {high:.10g}"
    if high is None:
        return f"{'above' if 'gt' in bounds else 'at least'} {low:.10g}"
    return f"in {'(' if 'gt' in bounds else '['}{low:.10g}, {high:.10g}{')' if 'lt' in bounds else ']'}"


def _where(loc: tuple[str | int, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model(part))), None)


def _fields(loc: tuple[str | int, ...], root: type[BaseModel]) -> Mapping[str, FieldInfo]:
    model: type[BaseModel] | None = root
    for part in loc:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model(field.annotation) if field else None
    return model.model_fields if model else {}


def _field(loc: tuple[str | int, ...], root: type[BaseModel]) -> FieldInfo | None:
    names = [part for part in loc if isinstance(part, str)]
    return _fields(tuple(names[:-1]), root).get(names[-1]) if names else None


#: What a section's name may be beside the files of its room.
_MORE = {
    "algorithms": ", optuna:<Sampler> or your own module:Class",
    "datasets": ", torchvision:<name> or your own module:function",
}


def _model_problems(key: str, table: Any) -> Iterator[str]:
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(name, str) or ":" in name:
        return
    problem = rooms.unknown("models", name)
    if problem:
        yield f"{key}.name: {problem}, torchvision:<name>, timm:<name> or your own module:function"
    elif isinstance(options := table.get("options", {}), dict):
        yield from rooms.option_problems("models", name, options, f"{key}.options")


def _torchvision_problems(name: str, options: Mapping[str, Any], section: str, known: Sequence[str]) -> Iterator[str]:
    """Torchvision's sets are listed in a file of the room, which is read like those that have a name there."""
    sets = rooms.constants("datasets", "_torchvision")["SETS"]
    wanted = name.partition(":")[2]
    if wanted not in sets:
        yield f"{section}.name: unknown set {name!r}{rooms.nearest(wanted, list(sets))}, choose from {', '.join(sets)}"
        return
    yield from rooms.problems_with(rooms.signature("datasets", "_torchvision"), name, options, section, known)


def rooms_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """Names and options of room files; works on raw values, so that these come with the type errors.

    `root` is the spec's model, whose sections say which keys are not options.
    """
    named = (
        ("data", "name", "datasets"), ("algorithm", "name", "algorithms"), ("quantizer", "name", "quantizers"),
        ("pruning", "importance", "importances"),
    )  # fmt: skip
    for section, key, room in named:
        fields = _fields((section,), root)
        table = data.get(section, {})
        name = table.get(key, fields[key].default) if isinstance(table, dict) else None
        if not isinstance(name, str):
            continue
        options = {k: v for k, v in table.items() if k not in fields}
        known = list(fields)
        if room == "algorithms" and name.startswith("optuna:"):
            yield from sampler_problems(name.removeprefix("optuna:"), options, section)
            continue
        if room == "algorithms" and name.startswith("tune:"):
            yield from searcher_problems(name.removeprefix("tune:"), options, section)
            continue
        if room == "datasets" and name.startswith("torchvision:"):
            yield from _torchvision_problems(name, options, section, known)
            continue
        if room in ("algorithms", "datasets") and ":" in name:
            try:
                declared = own_options(load_own(name, table.get("folder"), f"{section}.{key}"))
            except UserError as error:
                yield from error.problems
                continue
            yield from rooms.problems_with(declared, name, options, section, known) if declared is not None else ()
            continue
        problem = rooms.unknown(room, name)
        if problem:
            yield f"{section}.{key}: {problem}" + (_MORE.get(room, ""))
            continue
        for line in rooms.option_problems(room, name, options, section, also=known):
            option = line.partition(":")[0].removeprefix(f"{section}.")
            close = difflib.get_close_matches(option, known, n=1) if "unknown option" in line else []
            yield f"{section}.{option}: unknown key, did you mean {close[0]!r}?" if close else line
    yield from _model_problems("model", data.get("model"))
    finetune = data.get("finetune")
    teacher = finetune.get("teacher") if isinstance(finetune, dict) else None
    yield from _model_problems("finetune.teacher", teacher)
    if isinstance(teacher, dict):
        if teacher.get("weights") is None:
            yield "finetune.teacher.weights: is required, got nothing; name the state dict of the network to learn from"
        if not finetune.get("distillation"):  # type: ignore[union-attr]
            yield "finetune.distillation: must be more than 0 with a teacher, got 0; say how much of the loss is the teacher's"
    budgets = data.get("budgets")
    if isinstance(budgets, dict):
        for budget, limit in budgets.items():
            yield from _budget_problems(budget, limit)
            if not rooms.unknown("budgets", budget) and (problem := lacking(budget, data)):
                yield f"budgets.{budget}: {problem}"
    export = data.get("export")
    formats = export.get("formats", []) if isinstance(export, dict) else []
    for index, name in enumerate(formats if isinstance(formats, list) else []):
        if isinstance(name, str) and (problem := rooms.unknown("exporters", name)):
            yield f"export.formats[{index}]: {problem}"


def _budget_problems(name: str, limit: Any) -> Iterator[str]:
    problem = rooms.unknown("budgets", name)
    if problem:
        yield f"budgets.{name}: {problem}"
    elif isinstance(limit, (int, float)) and not isinstance(limit, bool) and math.isfinite(limit):
        known = rooms.constants("budgets", name)
        low, high = known["LOW"], known["HIGH"]
        # Ratios and sizes of nothing at all make no sense; a bit width starts at its smallest value.
        inside = (low < limit if low == 0 else low <= limit) and limit <= high
        if not inside:
            text = f"above {low:g}" if math.isinf(high) else f"in {'(' if low == 0 else '['}{low:g}, {high:g}]"
            yield f"budgets.{name}: must be {text}, got {limit!r}"


def lacking(cost: str, data: Mapping[str, Any]) -> str | None:
    """What a spec must have before it may name a cost, in words; None if it has it, or if the cost needs nothing."""
    needs = rooms.constants("budgets", cost).get("NEEDS")
    if needs is None:
        return None
    section, _, key = needs.partition(".")
    table = data.get(section)
    if isinstance(table, dict) and table.get(key) is not None:
        return None
    return (
        f'needs measurements, got no {needs}; set [{section}] {key} = "{section}.json" and let '
        f"`pqsearch {section} SPEC --out {section}.json` make them"
    )


def value_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """What the types cannot say. Works on raw values, so that these come with the type errors."""
    yield from _study_problems(data, root)
    space = data.get("space")
    if isinstance(space, dict):
        yield from _space_problems(space)
    workers = data.get("workers")
    gpus = workers.get("gpus", 0) if isinstance(workers, dict) else 0
    for key in ("baseline", "finetune"):
        if isinstance(data.get(key), dict):
            yield from _training_problems(key, data[key])
            yield from process_problems(key, data[key], gpus, _fields((key,), root)["batch_size"].default)
    if isinstance(task := data.get("task"), dict):
        yield from _task_problems(task, data)
    rungs = data.get("rungs")
    for index, rung in enumerate(rungs if isinstance(rungs, list) else []):
        kind, steps = (rung.get("kind"), rung.get("steps", 0)) if isinstance(rung, dict) else (None, 0)
        if not _number(steps):
            continue
        if kind == "calibrate" and steps > 0:
            yield f"rungs[{index}].steps: must be 0 when kind is 'calibrate', got {steps}"
        if kind in ("few_shot", "fine_tune") and steps == 0:
            yield f"rungs[{index}].steps: must be at least 1 when kind is {kind!r}, got 0"
    if isinstance(halving := data.get("halving"), dict):
        yield from _halving_problems(halving, rungs, data.get("study"))
    if isinstance(workers, dict) and isinstance(resources := workers.get("resources"), dict):
        yield from _resource_problems(resources)


def _resource_problems(resources: Mapping[str, Any]) -> Iterator[str]:
    for name, number in resources.items():
        if name in RAYS_OWN:
            yield f"workers.resources.{name}: is one of Ray's own; workers.cpus and workers.gpus say what a worker takes"
        elif _number(number) and not (
            0 < number <= 1 or (math.isfinite(number) and number > 0 and number == int(number))
        ):
            yield f"workers.resources.{name}: must be a share above 0 or a whole number, got {number!r}"


def _halving_problems(halving: Mapping[str, Any], rungs: Any, study: Any) -> Iterator[str]:
    if isinstance(rungs, list) and len(rungs) == 1:
        yield "halving: decides who goes on to the next rung, but there is one rung; add a [[rungs]] before it, or leave it out"
    objectives = study.get("objectives") if isinstance(study, dict) else None
    if halving.get("kind") == "promotion" and isinstance(objectives, list) and len(objectives) > 1:
        yield f"halving.kind: 'promotion' ranks by one objective, study.objectives has {len(objectives)}; use 'stopping'"


def _study_problems(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    study, algorithm = data.get("study"), data.get("algorithm", {})
    if not isinstance(study, dict) or not isinstance(algorithm, dict):
        return
    known = _fields(("study",), root)
    if isinstance(storage := study.get("storage"), str):
        yield from _storage_problems(storage)
    if isinstance(run_dir := study.get("run_dir"), str):
        yield from url_problems(run_dir)
    objectives = study.get("objectives", known["objectives"].default)
    if isinstance(objectives, list) and objectives and all(isinstance(name, str) for name in objectives):
        yield from _objective_problems(objectives, data)
        name = algorithm.get("name", _fields(("algorithm",), root)["name"].default)
        yield from several_problems(name, len(objectives)) if isinstance(name, str) else ()
    evaluations = study.get("evaluations", known["evaluations"].default)
    if isinstance(target := data.get("target"), dict):
        yield from _target_problems(target, study, objectives, evaluations, data)
    if _number(evaluations) and evaluations >= 1:
        yield from population_problems(algorithm, evaluations, "algorithm.", "study.")


def population_problems(
    options: Mapping[str, Any], evaluations: int, where: str = "", study: str = ""
) -> Iterator[str]:
    """Populations that are larger than all there is to evaluate; `where` and `study` are the sections' names."""
    for key in POPULATIONS:
        size = options.get(key, 0)
        if _number(size) and size > evaluations:
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
    if _number(evaluations) and 1 <= evaluations < FEWEST_FOR_TARGET:
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


def _space_problems(space: Mapping[str, Any]) -> Iterator[str]:
    text = space.get("sparsity_pattern", "layer")
    pattern = pattern_of(text) if isinstance(text, str) else Pattern()
    if pattern is None:
        blocks = ", ".join(map(str, BLOCKS))
        yield f"space.sparsity_pattern: must be {WORDS} with M one of {blocks} and N below it, got {text!r}"
    for key in ("prune_rate", "weight_bits", "act_bits", "sparsity"):
        levels = space.get(key)
        for index, value in enumerate(levels if isinstance(levels, list) else []):
            if problem := _level_problem(key, value, pattern):
                yield f"space.{key}[{index}]: {problem}"
    bits = space.get("first_last_bits", 0)
    if _number(bits) and 0 < bits <= FLOAT_BITS and not _legal_bits(bits):
        yield f"space.first_last_bits: must be 1 to 8, 32 for float, or 0 to search them, got {bits}"
    ties = space.get("tie")
    for index, entry in enumerate(ties if isinstance(ties, list) else []):
        if entry == []:
            yield f"space.tie[{index}]: must not be empty, got []; name the layers whose bits move together"
    patterns = space.get("layers")
    for pattern, knobs in patterns.items() if isinstance(patterns, dict) else ():
        for knob, levels in knobs.items() if isinstance(knobs, dict) else ():
            where = f"space.layers.{pattern}.{knob}"
            if knob not in KNOBS:
                yield f"{where}: unknown knob, choose from {', '.join(KNOBS)}"
            elif levels == []:
                yield f"{where}: must not be empty, got []"
            else:
                for index, value in enumerate(levels if isinstance(levels, list) else []):
                    if problem := _level_problem(knob, value, pattern):
                        yield f"{where}[{index}]: {problem}"
    pin = space.get("pin")
    for layer, knobs in pin.items() if isinstance(pin, dict) else ():
        for knob, value in knobs.items() if isinstance(knobs, dict) else ():
            if isinstance(value, dict):
                continue  # a layer's name in pieces: the type error says so
            if knob not in KNOBS:
                yield f"space.pin.{layer}.{knob}: unknown knob, choose from {', '.join(KNOBS)}"
            elif problem := _level_problem(knob, value, pattern):
                yield f"space.pin.{layer}.{knob}: {problem}"


def _training_problems(key: str, section: Mapping[str, Any]) -> Iterator[str]:
    marks = section.get("milestones")
    if not isinstance(marks, list) or not all(map(_number, marks)):
        return
    if any(not 0 < mark < 1 for mark in marks) or sorted(set(marks)) != marks:
        yield f"{key}.milestones: must rise and lie between 0 and 1, the whole training, got {marks}"


def _task_problems(task: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    for key in ("loss", "metric"):
        name = task.get(key)
        if isinstance(name, str) and not all(name.partition(":")):
            yield f"task.{key}: must be module:function, got {name!r}"
        if name is None and task.get(f"{key}_options"):
            yield f"task.{key}_options: are arguments of task.{key}, which is not set; name your function there"
    for section in ("baseline", "finetune"):
        table = data.get(section)
        smoothing = table.get("label_smoothing") if isinstance(table, dict) else None
        if isinstance(task.get("loss"), str) and smoothing:
            yield f"{section}.label_smoothing: is a part of cross-entropy, so must be 0 with a task.loss, got {smoothing!r}"


def _level_problem(knob: str, value: Any, pattern: Pattern | None) -> str | None:
    if not _number(value):
        return None  # a type error, reported as such
    if knob == "sparsity" and pattern is not None and pattern.share is not None and value not in (0, pattern.share):
        return f"must be 0 or {pattern.share:g} with the pattern {pattern.kept}:{pattern.block}, got {value!r}"
    if knob in SHARES:
        return None if 0 <= value < 1 else f"must be in [0, 1), got {value!r}"
    return None if _legal_bits(value) else f"must be 1 to 8, or 32 for float, got {value!r}"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _legal_bits(bits: float) -> bool:
    return bits == int(bits) and (1 <= bits <= 8 or bits == FLOAT_BITS)
