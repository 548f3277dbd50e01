"""Values that travel: what a model looks like, what was decided for it, and what came of it.

Nothing here knows torch or numpy: every value goes to JSON and back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pqsearch.errors import UserError

PLAN_FORMAT = 1
FLOAT_BITS = 32
#: The most that any quantiser has.
MOST_BITS = 16
#: Knob kinds by what they apply to. A new kind is a row here, its levels in `search_spaces/space.py`,
#: its effect on the module in `trainers/compress.py`.
GROUP_KNOBS = ("prune_rate",)
LAYER_KNOBS = ("weight_bits", "act_bits", "sparsity")
#: Kinds whose levels are what is taken away, in [0, 1): the cheapest is the largest.
SHARES = ("prune_rate", "sparsity")
#: Kinds of one knob that sets several of a layer's at once.
JOINT_KNOBS = {"bits": ("weight_bits", "act_bits")}
#: A layer input made of channels that nothing may remove (the image, an option-A residual stream).
FIXED = -1


@dataclass(frozen=True)
class Source:
    """A run of channels in a tensor: `channels` of group `group`, each standing for `repeat` elements.

    `group` indexes `ModelInfo.groups`, or is `FIXED`. `repeat` is 1 except after a flatten, where one
    channel becomes height x width consecutive features.
    """

    group: int
    channels: int
    repeat: int = 1


@dataclass(frozen=True)
class LayerInfo:
    """One convolution or linear layer of the float baseline, as one forward pass of a single image saw it.

    Multiply-accumulates are `out_size * kernel_size * out_channels * in_channels / groups`, with channels
    as features for linear layers. A layer used several times sums its positions in `out_size` and `in_size`.
    """

    name: str
    kind: str  # "conv" or "linear"
    inputs: tuple[Source, ...]
    output: int  # group of the output channels, or FIXED
    in_channels: int
    out_channels: int
    kernel_size: int  # kernel positions: height x width, 1 for linear
    groups: int  # convolution groups; equal to in_channels when depthwise
    in_size: int  # input positions of one image: height x width, 1 for linear after a flatten
    out_size: int
    bias: bool

    @property
    def depthwise(self) -> bool:
        """One filter per channel, which goes with its channel."""
        return 1 < self.groups == self.in_channels == self.out_channels


@dataclass(frozen=True)
class NormInfo:
    """A batch normalisation (or another per-channel module) that shrinks with the channels it reads."""

    name: str
    inputs: tuple[Source, ...]
    params_per_channel: int
    buffers_per_channel: int


@dataclass(frozen=True)
class GroupInfo:
    """Channels that must be removed together: residual sums, depthwise and grouped convolutions.

    `unit` is the smallest number of channels that can go: the least common multiple of the groups of its
    convolutions. `reason` says why a group is not `prunable`, in words for the layers table.
    """

    name: str  # the first layer that writes it, in forward order
    channels: int
    unit: int
    layers: tuple[str, ...]  # layers whose outputs shrink
    prunable: bool
    reason: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """All that the search needs to know of a model. Groups that are not prunable stay in the list."""

    layers: tuple[LayerInfo, ...]
    groups: tuple[GroupInfo, ...]
    norms: tuple[NormInfo, ...]
    other_params: int  # parameters of modules that no plan changes
    input_shape: tuple[int, ...]  # channels, height, width

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelInfo:
        def sources(rows: Iterable[Mapping[str, Any]]) -> tuple[Source, ...]:
            return tuple(Source(**row) for row in rows)

        return cls(
            layers=tuple(LayerInfo(**{**row, "inputs": sources(row["inputs"])}) for row in data["layers"]),
            groups=tuple(GroupInfo(**{**row, "layers": tuple(row["layers"])}) for row in data["groups"]),
            norms=tuple(NormInfo(**{**row, "inputs": sources(row["inputs"])}) for row in data["norms"]),
            other_params=data["other_params"],
            input_shape=tuple(data["input_shape"]),
        )


def kinds_set(kind: str) -> tuple[str, ...]:
    """The kinds that a knob of a kind sets: itself, or those that it joins."""
    return JOINT_KNOBS.get(kind, (kind,))


def channels_kept(channels: int, prune_rate: float) -> int:
    """Channels left of `channels` at a plan's `prune_rate`, which is exact: removed / channels."""
    return channels - round(prune_rate * channels)


@dataclass(frozen=True)
class LayerPlan:
    """Bits of one layer: 1..8, or 32 for float; and the share of its weights, of those that pruning leaves, that are zero."""

    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    sparsity: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Without sparsity where there is none: such plans read, and hash, as they did before there was any."""
        bits = {"weight_bits": self.weight_bits, "act_bits": self.act_bits}
        return {**bits, "sparsity": self.sparsity} if self.sparsity else bits


@dataclass(frozen=True)
class Plan:
    """The decision: a prune rate per group, bits and sparsity per layer, by name.

    `groups` maps a group's name to the fraction of its output channels removed; `layers` maps every conv
    and linear layer to its bits and sparsity. Names left out are untouched: rate 0, 32 bits, no zeros.
    """

    groups: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, LayerPlan] = field(default_factory=dict)

    def prune_rate(self, group: str) -> float:
        return self.groups.get(group, 0.0)

    def layer(self, name: str) -> LayerPlan:
        return self.layers.get(name, LayerPlan())

    def to_json(self) -> dict[str, Any]:
        return {
            "format": PLAN_FORMAT,
            "groups": {name: {"prune_rate": rate} for name, rate in self.groups.items()},
            "layers": {name: layer.to_json() for name, layer in self.layers.items()},
        }

    @classmethod
    def from_json(cls, data: Any) -> Plan:
        """Read a plan; a wrong format, an unknown knob or a value out of range is a `UserError`."""
        problems = list(_plan_problems(data))
        if problems:
            raise UserError(problems)
        return cls(
            groups={name: float(knobs["prune_rate"]) for name, knobs in data["groups"].items()},
            layers={name: LayerPlan(**knobs) for name, knobs in data["layers"].items()},
        )

    @property
    def hash(self) -> str:
        """16 hexadecimal digits, the same for equal plans whatever the order of their names."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plan_problems(data: Any) -> Iterable[str]:
    if not isinstance(data, dict) or not {"format", "groups", "layers"} <= data.keys():
        yield "plan: must be a JSON object with format, groups and layers; `pqsearch search` writes one as plan.json"
        return
    if data["format"] != PLAN_FORMAT:
        yield f"plan.format: must be {PLAN_FORMAT}, got {data['format']!r}; use the version that wrote it"
        return
    for section, known in (("groups", GROUP_KNOBS), ("layers", LAYER_KNOBS)):
        if not isinstance(data[section], dict):
            yield f"plan.{section}: must be an object of names, got {type(data[section]).__name__}"
            continue
        for name, knobs in data[section].items():
            if not isinstance(knobs, dict):
                yield f"plan.{section}.{name}: must be an object, got {knobs!r}"
                continue
            for knob in sorted(set(knobs) | set(known) - {"sparsity"}):
                value = knobs.get(knob)
                where = f"plan.{section}.{name}.{knob}"
                if knob not in known:
                    yield f"{where}: unknown knob, choose from {', '.join(known)}"
                elif isinstance(value, bool) or not isinstance(value, (int, float)):
                    yield f"{where}: must be a number, got {value!r}"
                elif knob in SHARES:
                    if not 0 <= value < 1:
                        yield f"{where}: must be in [0, 1), got {value!r}"
                elif not isinstance(value, int) or not (1 <= value <= MOST_BITS or value == FLOAT_BITS):
                    yield f"{where}: must be 1 to {MOST_BITS}, or 32 for float, got {value!r}"


@dataclass(frozen=True)
class Change:
    """One knob at another value than the dearest: of the layer or group `name`, and of the layers `tied` to it."""

    kind: str
    name: str
    value: float
    tied: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Change:
        return cls(data["kind"], data["name"], data["value"], tuple(data.get("tied", ())))


@dataclass(frozen=True)
class Item:
    """One piece of work for a worker: one rung of one plan, or what is found out before there are plans.

    A "probe" is a plan with one `Change`, calibrated and scored, never trained. "gradients" asks for the expected cost of each
    of `changes` at once and looks at no plan. `start` names the weights file that the previous rung left (relative to the
    scratch folder of the run), None for the baseline's weights. Randomness is a function of (plan hash, rung, repeat) alone.
    """

    id: int
    kind: str  # "candidate", "confirm", "probe" or "gradients"
    plan: Plan
    rung: int
    repeat: int = 0
    start: str | None = None
    last: bool = True  # no rung follows: nothing to keep
    changes: tuple[Change, ...] = ()
    alone: bool = False  # whoever shares its worker's GPU has nothing to do meanwhile

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "plan": self.plan.to_json(), "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        changes = tuple(map(Change.from_json, data["changes"]))
        return cls(**{**data, "plan": Plan.from_json(data["plan"]), "changes": changes})


@dataclass(frozen=True)
class Accuracy:
    """The mean score of `images`: the fraction classified rightly, with its binomial standard error, unless the scores of
    single images have a `deviation` of their own.
    """

    value: float
    images: int
    deviation: float | None = None

    @property
    def standard_error(self) -> float:
        if self.deviation is not None:
            return self.deviation / self.images**0.5
        return (self.value * (1 - self.value) / self.images) ** 0.5

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "images": self.images, "standard_error": self.standard_error}


@dataclass(frozen=True)
class Result:
    """What one rung of one plan gave. `seconds` by phase: surgery, calibrate, train, score.

    A diverged or out-of-memory evaluation has `failure` set (the reason in words) and no accuracy; `crowded` says that with more
    than its worker's share of a GPU it may succeed. `recomputed` counts lower rungs that had to be climbed once more before it.
    Of the images scored the float baseline alone gets `lost` right, the plan alone `gained`: known where a target compares them.
    Of scores that are fractions these are what all images lost and gained together, and `squares` is the sum of their squares.
    """

    id: int
    rung: int
    repeat: int
    accuracy: Accuracy | None
    loss: float | None
    seconds: Mapping[str, float]
    weights: str | None = None  # file left for the next rung
    failure: str | None = None
    lost: float | None = None
    gained: float | None = None
    squares: float | None = None
    expected: tuple[float, ...] = ()  # cost of each of the item's changes
    crowded: bool = False
    recomputed: int = 0
