"""The spec: one TOML file, every key typed here, checked whole before anything runs.

The fields below are the one place where keys are defined: `docs/spec.md` and `pqsearch init` are made from them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.spec_problems import rooms_problems, validation_problems, value_problems

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


#: How names begin that are looked up in these libraries.
TORCHVISION, TIMM = "torchvision:", "timm:"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _RoomSection(BaseModel):
    """A section whose further keys are the options of the room's file it names."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _name_or_index(value: Any) -> Any:
    if value is None or isinstance(value, str) or (type(value) is int and value >= 0):
        return value
    raise PydanticCustomError("output", "a name or an index")


class StudySpec(_Section):
    """What is searched, how long, and where it is kept."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the study; letters, digits, `.`, `_`, `-`."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of everything random.")
    evaluations: int = Field(100, ge=1, description="Distinct plans to evaluate.")
    run_dir: str | None = Field(
        None,
        description="Folder of the run, or its address in a store, as `s3://BUCKET/FOLDER`; `runs/<name>` unless given.",
    )
    storage: str | None = Field(
        None,
        description="Where the journal is kept: `postgresql://USER@HOST/DATABASE`; a file in the run directory unless given.",
    )
    optuna_log: str | None = Field(
        None, description="File of the Optuna mirror; `optuna.log` in the run directory unless given."
    )
    hours: float | None = Field(None, gt=0, description="The search ends in time, with what it has.")
    objectives: list[str] = Field(
        ["accuracy"],
        min_length=1,
        description="What ranks plans: `accuracy`, or `loss`, finer where the slice is small; behind it costs to be kept low.",
    )
    synchronous: bool = Field(
        False,
        description="Whole generations: no plan is asked before all of the last ones are told. Workers wait for the slowest.",
    )
    plans: list[str] = Field(
        [], description="Plan files (as `plan.json`) of your own that are evaluated first, at the nearest levels."
    )
    patience: int | None = Field(
        None, ge=1, description="The search ends when so many plans in a row have bettered nothing."
    )
    confirm: int = Field(4, ge=0, description="How many leading plans are measured again with fresh seeds.")
    confirm_repeats: int = Field(2, ge=1, description="How often each of them.")
    retest: int = Field(
        0,
        ge=0,
        description="How many plans, spread over all scores, are measured once more: how far scores can be trusted.",
    )

    @property
    def score(self) -> str:
        """What is measured of a plan: the first objective."""
        return self.objectives[0]

    @property
    def costs(self) -> list[str]:
        """Costs that are objectives themselves."""
        return self.objectives[1:]


class DataSpec(_RoomSection):
    """The images. Further keys are the dataset's own options."""

    name: str = Field(
        description="Dataset: a file in `trainers/datasets/`, `torchvision:<name>`, or your own `module:function`."
    )
    folder: str | None = Field(
        None, description="Where `module:function` is found; the spec's own folder unless given."
    )
    root: str | None = Field(None, description="Folder or archive of the data, where the dataset needs one.")
    score_images: int = Field(
        1000, ge=1, description="Training images, stratified, kept out of all training, that score plans."
    )
    select_images: int = Field(
        1000, ge=1, description="As many others, also kept out, that pick the fine-tune's checkpoint."
    )
    validation: str | None = Field(
        None,
        description="A folder `<class>/<image>` of one's own instead of slices of the training data: halved, one half scores, one selects.",
    )
    augment: list[
        Literal["crop", "flip", "erase", "auto_augment", "auto_augment_imagenet", "rand_augment", "trivial_augment"]
    ] = Field(
        ["crop", "flip"],
        description="Augmentation while training: shifts by an eighth, mirror images, erased rectangles, and torchvision's policies.",
    )
    cache: str | None = Field(None, description="Folder of decoded images; the user's cache folder unless given.")


class ModelSpec(_Section):
    """The network and its trained weights."""

    name: str = Field(
        description="A file in `trainers/models/`, `torchvision:<name>`, `timm:<name>`, or your own `module:function`."
    )
    weights: str | None = Field(
        None,
        description="State dict to start from, or torchvision's as `torchvision:IMAGENET1K_V1`; trained here from scratch if not given.",
    )
    options: dict[str, Any] = Field({}, description="Arguments of the model.")
    output: Annotated[str | int | None, BeforeValidator(_name_or_index)] = Field(
        None,
        description="Which output counts where the model returns several: a name, or an index from 0. The others are left out.",
    )
    folder: str | None = Field(
        None, description="Where `module:function` is found; the spec's own folder unless given."
    )


class TeacherSpec(ModelSpec):
    """Another network than the float baseline to learn from. It needs `weights`."""


class TaskSpec(_Section):
    """What is learned and what counts, in all training and wherever plans are scored; classification unless given."""

    loss: str | None = Field(
        None,
        description="Your own `module:function` of outputs and labels, the mean over the batch; cross-entropy unless given.",
    )
    loss_options: dict[str, Any] = Field({}, description="Arguments of the loss by name.")
    metric: str | None = Field(
        None,
        description="Your own `module:function`: a score in [0, 1] of each image; accuracies are its mean. 1 where right unless given.",
    )
    metric_options: dict[str, Any] = Field({}, description="Arguments of the metric by name.")
    folder: str | None = Field(
        None, description="Where `module:function` is found; the spec's own folder unless given."
    )


class TrainSpec(_Section):
    """What the baseline and the full fine-tune have in common."""

    epochs: int = Field(10, ge=0, description="Passes over the training images.")
    lr: float = Field(0.05, gt=0, description="Peak learning rate.")
    batch_size: int = Field(128, ge=2, description="Images a step, of all processes together.")
    workers: int = Field(
        1,
        ge=1,
        description="Processes that share each batch, every one with the CPUs and GPUs that `[workers]` gives a worker.",
    )
    sync_batch_norm: bool = Field(
        False, description="Batch norm over the images of all `workers`; torch has it on GPUs only."
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with Nesterov momentum 0.9, or AdamW.")
    weight_decay: float = Field(5e-4, ge=0, description="Not applied to batch norm, biases and quantiser steps.")
    schedule: Literal["cosine", "step", "one_cycle"] = Field(
        "cosine",
        description="The learning rate by step: `cosine` to zero; `step`, a tenth of it from each milestone on; `one_cycle`, up and down.",
    )
    milestones: list[float] = Field(
        [0.5, 0.75], description="Where the schedule `step` goes down, as shares of the whole training."
    )
    warmup_epochs: float = Field(1.0, ge=0, description="Linear warm-up before `cosine` and `step`.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    mixup: float = Field(
        0.0, ge=0, description="Pairs of images are added, in shares from Beta(mixup, mixup); 0 is off."
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="A rectangle of one image is pasted into another; with `mixup` each batch gets one of them.",
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="How much of the averaged weights each step keeps (0.999); 0 averages nothing."
    )
    clip: float = Field(0.0, ge=0, description="The longest gradient, by its Euclidean norm; 0 is any.")
    amp: bool = Field(
        True, description="Mixed precision: float16 on GPUs, bfloat16 on CPUs that compute in it. Scores are float32."
    )
    compile: bool = Field(
        False, description="`torch.compile` for training: minutes at first, then faster where it wins."
    )


class BaselineSpec(TrainSpec):
    """Training of the float network; with `model.weights` a short adaptation, with 0 epochs none."""


class FinetuneSpec(TrainSpec):
    """The full fine-tune of the plans that came out best, of the uniform plans and of the float baseline."""

    distillation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the loss taken from a teacher's outputs: the float baseline's, or `teacher`'s.",
    )
    teacher: TeacherSpec | None = Field(None, description="A network to learn from, with the keys of `[model]`.")
    temperature: float = Field(2.0, gt=0, description="Temperature of the distillation.")
    quantizer_lr: float = Field(
        0.1, gt=0, le=1, description="Learning rate of the quantiser steps, as a share of `lr`."
    )
    freeze_batch_norm: bool = Field(
        False,
        description="Batch norm keeps the statistics of the calibration; its scales and shifts are still trained.",
    )
    top_k: int = Field(1, ge=1, description="How many of the best plans get it; the held-out slice picks one.")
    compare: bool = Field(
        True, description="The same fine-tune for the best uniform plan, its filled copy and the float baseline."
    )


class SpaceSpec(_Section):
    """What may vary. Lists of one value switch a knob off."""

    prune_rate: list[float] = Field(
        [0.0, 0.125, 0.25, 0.375, 0.5, 0.625],
        min_length=1,
        description="Fractions of a group's channels removed, each in [0, 1).",
    )
    weight_bits: list[int] = Field(
        [2, 3, 4, 5, 6, 8], min_length=1, description="Bits of weights: 1 to 8, or 32 for float."
    )
    act_bits: list[int] = Field(
        [2, 3, 4, 5, 6, 8], min_length=1, description="Bits of layer inputs: 1 to 8, or 32 for float."
    )
    sparsity: list[float] = Field(
        [0.0],
        min_length=1,
        description="Shares of the weights left in a layer that are zero, the smallest ones, each in [0, 1); `[0.0, 0.5, 0.75]`.",
    )
    sparsity_pattern: str = Field(
        "layer",
        description="Where zeros may be: anywhere in a `layer`, as many in each `filter`, or N of M weights stay: `2:4`.",
    )
    channel_multiple: int = Field(1, ge=1, description="Channels kept are a multiple of this where the layer allows.")
    first_last_bits: int = Field(
        8, ge=0, le=32, description="Bits of the first and last layer, which are not searched; 0 searches them too."
    )
    tie: list[list[str]] = Field(
        [],
        description='Layers whose bits move together, by pattern: `[["layer1.*", "conv1"]]`; an entry is one knob for each kind.',
    )
    tie_bits: bool = Field(False, description="One knob for the bits of a layer's weights and of its inputs.")
    layers: dict[str, dict[str, list[float]]] = Field(
        {},
        description='Levels of their own for layers by pattern: `{ "layer1.*" = { weight_bits = [4, 8] } }`; the last that matches.',
    )
    pin: dict[str, dict[str, float]] = Field(
        {}, description='Knobs held fixed, by layer: `{ "conv1" = { weight_bits = 8 } }`.'
    )


class LatencySpec(_Section):
    """What the layers take on the device that the network is for: what the budget `latency_ms` is made of."""

    table: str | None = Field(
        None, description="JSON file of measurements, as `pqsearch latency SPEC --out FILE` writes it."
    )


class TargetSpec(_Section):
    """The question the other way round: the smallest plan that loses little enough. The study moves the budget itself."""

    max_drop: float = Field(
        ge=0,
        le=100,
        description="Points of accuracy on the scoring slice that a plan may lose against the float baseline.",
    )
    minimize: str = Field(description="What is made small: a file in `search_spaces/budgets/`.")


class SensitivitySpec(_Section):
    """What is found out of single layers before plans are searched: a prior, and a plan that is best by it."""

    source: Literal["gradients", "table", "none"] = Field(
        "gradients",
        description="`gradients`: one backward pass, seconds. `table`: every level of every knob alone, calibrated and scored. `none`.",
    )
    images: int = Field(128, ge=1, description="Training images that `gradients` looks at.")


class AlgorithmSpec(_RoomSection):
    """The search algorithm. Further keys are its own options."""

    name: str = Field(
        "surrogate_exchange",
        description="A file in `pqsearch/algorithms/`, `optuna:<Sampler>`, or your own `module:Class`.",
    )
    folder: str | None = Field(None, description="Where `module:Class` is found; the spec's own folder unless given.")


class RungSpec(_Section):
    """One level of proxy effort; a plan climbs them in order and is scored after each."""

    kind: Literal["calibrate", "few_shot", "fine_tune"] = Field(
        description="`calibrate`: batch norm and steps from data, no training. `few_shot`: trains these. `fine_tune`: trains all."
    )
    images: int = Field(512, ge=2, description="Training images that calibrate.")
    steps: int = Field(0, ge=0, description="Training steps.")
    lr: float = Field(0.01, gt=0, description="Peak learning rate of the steps.")
    batch_size: int = Field(64, ge=2, description="Images a step.")
    amp: bool = Field(True, description="Mixed precision, as in `[finetune]`.")
    max_seconds: float | None = Field(
        None, gt=0, description="An evaluation that takes longer hangs: its worker is ended, its plan counts as failed."
    )


class HalvingSpec(_Section):
    """Asynchronous successive halving: bad plans stop at an early rung. Without this section every plan climbs all rungs."""

    factor: float = Field(3.0, ge=1, le=100, description="One in so many goes on to the next rung; 1 sends all on.")
    kind: Literal["stopping", "promotion"] = Field(
        "stopping",
        description="`stopping`: goes on at once or never. `promotion`: pauses, and goes on when it turns out to be among the best.",
    )
    window: int = Field(
        30,
        ge=2,
        description="Plans that last reached the rung, with which the stopping kind compares: a search gets better.",
    )


class QuantizerSpec(_RoomSection):
    """The quantiser. Further keys are its own options."""

    name: str = Field("lsq", description="A file in `trainers/quantizers/`.")


class PruningSpec(_RoomSection):
    """How the channels to remove are chosen. Further keys are the importance's own options."""

    importance: str = Field("l1", description="A file in `trainers/importances/`.")
    gradient_images: int = Field(256, ge=2, description="Training images behind importances that need gradients.")


class ExportSpec(_Section):
    """What is written of the winner."""

    formats: list[str] = Field(["torch_weights"], min_length=1, description="Files in `trainers/exporters/`.")


class WorkersSpec(_Section):
    """Who evaluates. Each worker is one long-lived Ray Tune trial."""

    count: int = Field(1, ge=1, description="Workers.")
    cpus: float = Field(1, gt=0, description="CPU cores of each; also its torch threads.")
    gpus: float = Field(0, ge=0, description="GPUs of each; a fraction shares one, and takes no more of its memory.")
    resources: dict[str, float] = Field(
        {},
        description="What each takes of resources of your own (`ray start --resources`): kept on nodes that have them.",
    )
    silence_seconds: float = Field(
        60.0,
        ge=1,
        description="A worker that gives no sign of life for so long is ended and replaced; what it held is handed out again.",
    )
    price: float | None = Field(
        None,
        ge=0,
        description="What an hour of one worker costs, in any currency: what a run used is then shown as a cost too.",
    )
    wait: float | None = Field(
        None,
        gt=0,
        description="Seconds that a cluster may take until it can hold one worker; for ever unless given.",
    )

    def wanted(self) -> dict[str, float]:
        """What one worker takes, by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus, **self.resources}


class Spec(_Section):
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
    pruning: PruningSpec = PruningSpec()
    finetune: FinetuneSpec = FinetuneSpec()
    export: ExportSpec = ExportSpec()
    workers: WorkersSpec = WorkersSpec()

    @property
    def run_dir(self) -> str:
        return self.study.run_dir or f"runs/{self.study.name}"

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
    _resolve_paths(data, path.absolute().parent)
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


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
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
