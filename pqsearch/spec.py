"""The spec: one TOML file, every key typed here, checked whole before anything runs.

The fields of the sections (`spec_search.py`, `spec_network.py`) are the one place where keys are defined: `docs/spec.md` and
`pqsearch init` are made from them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import tomli_w
from pydantic import Field, ValidationError

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.room_problems import rooms_problems
from pqsearch.spec_network import (
    TIMM,
    TORCHVISION,
    BaselineSpec,
    CalibrationSpec,
    DataSpec,
    ExportSpec,
    FinetuneSpec,
    FixedPointSpec,
    ModelSpec,
    PruningSpec,
    QuantizerSpec,
    ReconstructionSpec,
    TaskSpec,
)
from pqsearch.spec_problems import value_problems
from pqsearch.spec_search import (
    AlgorithmSpec,
    HalvingSpec,
    LatencySpec,
    RungSpec,
    SensitivitySpec,
    SpaceSpec,
    StudySpec,
    TargetSpec,
    WorkersSpec,
)
from pqsearch.spec_section import Section
from pqsearch.type_problems import validation_problems

#: Keys that hold a path, beside the list `study.plans`.
PATH_KEYS = (
    ("study", "optuna_log"),
    ("data", "root"),
    ("data", "validation"),
    ("data", "cache"),
    ("data", "folder"),
    ("model", "weights"),
    ("model", "folder"),
    ("task", "folder"),
    ("algorithm", "folder"),
    ("latency", "table"),
)


class Spec(Section):
    """A whole spec, valid in itself; what depends on the data and the model is checked by `pqsearch check`."""

    study: StudySpec
    data: DataSpec
    model: ModelSpec
    task: TaskSpec = TaskSpec()
    baseline: BaselineSpec = BaselineSpec()
    space: SpaceSpec = SpaceSpec()
    budgets: dict[str, float] = Field({}, description="Upper limits, one key per file in `search_spaces/budgets/`.")
    latency: LatencySpec = LatencySpec()
    target: TargetSpec | None = None
    sensitivity: SensitivitySpec = SensitivitySpec()
    algorithm: AlgorithmSpec = AlgorithmSpec()
    rungs: list[RungSpec] = Field(
        [RungSpec(kind="calibrate"), RungSpec(kind="fine_tune", steps=50)],
        min_length=1,
        description="Proxy effort, in order.",
    )
    halving: HalvingSpec | None = None
    quantizer: QuantizerSpec = QuantizerSpec()
    calibration: CalibrationSpec = CalibrationSpec()
    pruning: PruningSpec = PruningSpec()
    reconstruction: ReconstructionSpec | None = None
    finetune: FinetuneSpec = FinetuneSpec()
    export: ExportSpec = ExportSpec()
    fixed_point: FixedPointSpec | None = None
    workers: WorkersSpec = WorkersSpec()

    @property
    def run_dir(self) -> str:
        return self.study.run_dir or f"runs/{self.study.name}"

    def calibrates(self, rung: int) -> bool:
        """Whether plans are calibrated on that rung. Without a calibrating rung the first one does it all the same: steps must start
        somewhere.
        """
        return rung == 0 or self.rungs[rung].kind == "calibrate"

    @property
    def calibration_images(self) -> int:
        """Of the rungs that calibrate, the most images one takes: what calibrates where no rung is climbed."""
        return max(rung.images for index, rung in enumerate(self.rungs) if self.calibrates(index))

    @property
    def finetunes_at_once(self) -> int:
        """Full fine-tunes that run together: as many as their processes fit among the workers."""
        return max(1, self.workers.count // self.finetune.workers)

    def to_dict(self) -> dict[str, Any]:
        """Plain TOML values; keys that are not set are left out."""
        return self.model_dump(exclude_none=True)

    def to_toml(self, defaults: bool = True) -> str:
        """The spec as a file, with or without the defaults of this version."""
        return tomli_w.dumps(self.model_dump(exclude_none=True, exclude_unset=not defaults))

    def without_passwords(self) -> Spec:
        """The spec for those who need not reach its database: no password stands in it."""
        if self.study.storage is None:
            return self
        study = self.study.model_copy(update={"storage": hide_passwords(self.study.storage)})
        return self.model_copy(update={"study": study})


def shared_trainings(spec: Spec) -> list[tuple[str, int]]:
    """The sections whose training several processes share, with how many these are."""
    sections = (("baseline", spec.baseline), ("finetune", spec.finetune))
    return [(key, section.workers) for key, section in sections if section.workers > 1 and section.epochs]


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """Read a spec file and apply `section.key=value` overrides (values are TOML; bare words are texts).

    Paths in the spec are relative to the current directory, as on a command line; they become absolute here, so that
    workers on the same machine find them from wherever they run. Raises `UserError` with all problems.
    """
    path = Path(path)
    data, problems = raw_spec(path, overrides)
    resolve_paths(data, path.absolute().parent)
    try:
        return parse_spec(data)
    except UserError as error:
        problems.extend(error.problems)
        raise UserError(problems) from None
    finally:
        if problems:
            raise UserError(problems)


def raw_spec(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """What a spec file says with its overrides, unchecked and with its paths as they are written; and wrong overrides."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); `pqsearch init` writes a spec to start from"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file in UTF-8; a spec is TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: is not valid TOML: {error}") from None
    return data, [problem for text in overrides if (problem := _override(data, text))]


def parse_spec(data: Mapping[str, Any]) -> Spec:
    """A spec from plain values. Raises `UserError` with every problem, one line each."""
    try:
        spec = Spec.model_validate(dict(data))
    except ValidationError as error:
        raise UserError(
            [*validation_problems(error, Spec), *rooms_problems(data, Spec), *value_problems(data, Spec)]
        ) from None
    problems = [*rooms_problems(data, Spec), *value_problems(data, Spec)]
    if problems:
        raise UserError(problems)
    return spec


def paths_in(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The paths that a spec's values name, each with its key."""
    for section, key in PATH_KEYS:
        table = data.get(section)
        if isinstance(table, Mapping) and _is_path(path := table.get(key)):
            yield f"{section}.{key}", path
    study = data.get("study")
    for number, path in enumerate(study.get("plans", ()) if isinstance(study, Mapping) else ()):
        yield f"study.plans[{number}]", path


def resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make the paths in a spec's unchecked values absolute; modules of the user's are in `folder` unless they say where."""
    for section, key in PATH_KEYS:
        table = data.get(section)
        if isinstance(table, dict) and _is_path(table.get(key)):
            table[key] = str(Path(table[key]).expanduser().absolute())
    study = data.get("study")
    if isinstance(study, dict) and isinstance(plans := study.get("plans"), list):
        study["plans"] = [str(Path(path).expanduser().absolute()) if isinstance(path, str) else path for path in plans]
    finetune = data.get("finetune")
    teacher = finetune.get("teacher") if isinstance(finetune, dict) else None
    for key in ("weights", "folder"):
        if isinstance(teacher, dict) and _is_path(teacher.get(key)):
            teacher[key] = str(Path(teacher[key]).expanduser().absolute())
    for table in (data.get("data"), data.get("model"), data.get("algorithm"), teacher):
        name = table.get("name") if isinstance(table, dict) else None
        if (
            isinstance(table, dict)
            and isinstance(name, str)
            and ":" in name
            and not name.startswith((TORCHVISION, TIMM, "optuna:", "tune:"))
        ):
            table.setdefault("folder", str(folder))
    task = data.get("task")
    if isinstance(task, dict) and {"loss", "metric"} & task.keys():
        task.setdefault("folder", str(folder))


def _is_path(value: Any) -> TypeGuard[str]:
    """Weights that torchvision publishes lie where it puts them."""
    return isinstance(value, str) and not value.startswith(TORCHVISION)


def _override(data: dict[str, Any], text: str) -> str | None:
    key, equals, value = text.partition("=")
    *parents, last = key.strip().replace("[", ".").replace("]", "").split(".")
    if not equals or not parents or not last:
        return f"--set {hide_passwords(text)}: must be section.key=value"
    target: Any = data
    for name in parents:
        if isinstance(target, list):
            if not name.isdigit() or int(name) >= len(target):
                return f"--set {text}: there is no {key} to set; the spec has {len(target)} entries there"
            target = target[int(name)]
        elif isinstance(target, dict):
            target = target.setdefault(name, {})
        else:
            return f"--set {hide_passwords(text)}: {name} is not a section"
    if not isinstance(target, dict):
        return f"--set {hide_passwords(text)}: {'.'.join(parents)} is not a section"
    try:
        target[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        target[last] = value.strip()
    return None
