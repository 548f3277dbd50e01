"""The search space that a spec and a traced model define. No torch: the study actor builds it too."""

from __future__ import annotations

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.latency_file import read_latency
from pqsearch.plan import FLOAT_BITS, ModelInfo
from pqsearch.sparsity import Pattern, pattern_of
from pqsearch.spec import Spec
from search_spaces.latency import LatencyTable
from search_spaces.space import Space


def space_of(spec: Spec, info: ModelInfo, latency: LatencyTable | None = None) -> Space:
    """The search space of a traced model. Raises `UserError` for pins and budgets that cannot be.

    `latency` is the table that the spec names, which is read here unless it is given.
    """
    return Space(
        info,
        prune_rate=spec.space.prune_rate,
        weight_bits=spec.space.weight_bits,
        act_bits=spec.space.act_bits,
        sparsity=spec.space.sparsity,
        sparsity_pattern=pattern_of(spec.space.sparsity_pattern) or Pattern(),
        channel_multiple=spec.space.channel_multiple,
        pin=_pins(spec, info),
        layers=spec.space.layers,
        tied_layers=spec.space.tie,
        tied_bits=spec.space.tie_bits,
        budgets=spec.budgets,
        objectives=spec.study.costs,
        per_channel_steps=_per_channel(spec),
        latency=latency or latency_of(spec, info),
    )


def check_counted(spec: Spec, space: Space) -> None:
    """Raise `UserError` where layers may be sparse but no cost of the spec sees it: slack would make all dense again."""
    if not any(kind == "sparsity" and levels > 1 for kind, levels in zip(space.kinds, space.levels, strict=True)):
        return
    seeing = space.costs_changed_by("sparsity")
    target = [spec.target.minimize] if spec.target is not None else []
    if not seeing.intersection([*spec.budgets, *spec.study.costs, *target]):
        raise UserError(
            f"space.sparsity: no budget and no objective counts zeros, so that every layer would stay dense, got "
            f"{', '.join(spec.budgets) or 'no budgets'}; add a limit on {' or '.join(sorted(seeing))} to [budgets]"
        )


def latency_of(spec: Spec, info: ModelInfo) -> LatencyTable | None:
    """The table of measurements that a spec names, None without one. Raises `UserError` for one that does not fit the model."""
    return None if spec.latency.table is None else read_latency(spec.latency.table, info)


def _pins(spec: Spec, info: ModelInfo) -> dict[str, dict[str, float]]:
    pins: dict[str, dict[str, float]] = {}
    ends = (info.layers[0].name, info.layers[-1].name) if spec.space.first_last_bits else ()
    for layer in ends:
        # Where bits are not searched at all, a float network stays float from end to end.
        pins[layer] = {
            knob: spec.space.first_last_bits
            for knob, levels in (("weight_bits", spec.space.weight_bits), ("act_bits", spec.space.act_bits))
            if set(levels) != {FLOAT_BITS}
        }
    for layer, knobs in spec.space.pin.items():
        pins[layer] = {**pins.get(layer, {}), **knobs}
    return pins


def _per_channel(spec: Spec) -> bool:
    options = {option.name: option.default for option in rooms.signature("quantizers", spec.quantizer.name)}
    return bool((options | spec.quantizer.options).get("per_channel", False))
