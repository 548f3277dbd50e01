"""The sections about the search: what may vary, who proposes, who evaluates, how long."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pqsearch.spec_section import RoomSection, Section


class StudySpec(Section):
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


class SpaceSpec(Section):
    """What may vary. Lists of one value switch a knob off."""

    prune_rate: list[float] = Field(
        [0.0, 0.125, 0.25, 0.375, 0.5, 0.625],
        min_length=1,
        description="Fractions of a group's channels removed, each in [0, 1).",
    )
    weight_bits: list[int] = Field(
        [2, 3, 4, 5, 6, 8], min_length=1, description="Bits of weights that the quantiser has, or 32 for float."
    )
    act_bits: list[int] = Field(
        [2, 3, 4, 5, 6, 8], min_length=1, description="Bits of layer inputs that the quantiser has, or 32 for float."
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


class LatencySpec(Section):
    """What the layers take on the device that the network is for: what the budget `latency_ms` is made of."""

    table: str | None = Field(
        None, description="JSON file of measurements, as `pqsearch latency SPEC --out FILE` writes it."
    )


class TargetSpec(Section):
    """The question the other way round: the smallest plan that loses little enough. The study moves the budget itself."""

    max_drop: float = Field(
        ge=0,
        le=100,
        description="Points of accuracy on the scoring slice that a plan may lose against the float baseline.",
    )
    minimize: str = Field(description="What is made small: a file in `search_spaces/budgets/`.")


class SensitivitySpec(Section):
    """What is found out of single layers before plans are searched: a prior, and a plan that is best by it."""

    source: Literal["gradients", "table", "none"] = Field(
        "gradients",
        description="`gradients`: one backward pass and every level rounded once, seconds for a small network, on two cores "
        "minutes for a ResNet-50. `table`: every level of every knob alone, calibrated and scored. `none`.",
    )
    images: int = Field(128, ge=1, description="Training images that `gradients` looks at.")


class AlgorithmSpec(RoomSection):
    """The search algorithm. Further keys are its own options."""

    name: str = Field(
        "surrogate_exchange",
        description="A file in `pqsearch/algorithms/`, `optuna:<Sampler>`, or your own `module:Class`.",
    )
    folder: str | None = Field(None, description="Where `module:Class` is found; the spec's own folder unless given.")


class RungSpec(Section):
    """One level of proxy effort; a plan climbs them in order and is scored after each."""

    kind: Literal["calibrate", "few_shot", "fine_tune"] = Field(
        description="`calibrate`: batch norm and steps from data, no training. `few_shot`: trains these. `fine_tune`: trains all."
    )
    images: int = Field(
        512, ge=2, description="Training images that calibrate, on the first rung and where `kind` says so."
    )
    steps: int = Field(0, ge=0, description="Training steps.")
    lr: float = Field(0.01, gt=0, description="Peak learning rate of the steps.")
    batch_size: int = Field(64, ge=2, description="Images a step.")
    amp: bool = Field(True, description="Mixed precision, as in `[finetune]`.")
    max_seconds: float | None = Field(
        None, gt=0, description="An evaluation that takes longer hangs: its worker is ended, its plan counts as failed."
    )


class HalvingSpec(Section):
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


class WorkersSpec(Section):
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
