"""The table of knobs: what each may be set to, cheapest level first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.plan import GroupInfo, ModelInfo
from pqsearch.plan_table import Row


@dataclass(frozen=True)
class Knob:
    """One thing that may vary. `targets` index the model's groups (prune_rate, one) or layers (all others, those tied together)."""

    kind: str
    targets: tuple[int, ...]
    names: tuple[str, ...]  # of the targets
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """The first of the names, which the knob goes by."""
        return self.names[0]

    @property
    def row(self) -> Row:
        """What a journal keeps of it."""
        return Row(self.kind, self.name, self.values, self.names[1:])


def knobs(
    info: ModelInfo,
    prune_rate: Sequence[float],
    weight_bits: Sequence[int],
    act_bits: Sequence[int],
    channel_multiple: int,
    pin: Mapping[str, Mapping[str, float]],
    layers: Mapping[str, Mapping[str, Sequence[float]]],
    sparsity: Sequence[float] = (0.0,),
) -> list[Knob]:
    """A prune_rate knob per prunable group, weight_bits and act_bits knobs per layer, and sparsity where there may be any.

    `layers` gives those whose names match a pattern levels of their own; of several patterns the last counts, and a pin before all.
    Raises `UserError` for pins and patterns that are wrong.
    """
    _check_pins(info, pin)
    _check_patterns(info, layers)
    table = []
    for index, group in enumerate(info.groups):
        pinned = [pin[layer]["prune_rate"] for layer in group.layers if "prune_rate" in pin.get(layer, {})]
        if group.prunable:
            wanted = pinned[:1] or _levels("prune_rate", group.layers, prune_rate, layers)
            table.append(Knob("prune_rate", (index,), (group.name,), realised(group, wanted, channel_multiple)))
    for kind, levels in (("weight_bits", weight_bits), ("act_bits", act_bits)):
        for index, layer in enumerate(info.layers):
            fixed = pin.get(layer.name, {}).get(kind)
            mine = _levels(kind, (layer.name,), levels, layers)
            values = tuple(sorted(set(map(int, mine)))) if fixed is None else (int(fixed),)
            table.append(Knob(kind, (index,), (layer.name,), values))
    for index, layer in enumerate(info.layers):
        fixed = pin.get(layer.name, {}).get("sparsity")
        shares = _levels("sparsity", (layer.name,), sparsity, layers) if fixed is None else (fixed,)
        # Layers that stay dense have no knob: spaces without sparsity have the knobs that they always had.
        if any(shares):
            table.append(
                Knob("sparsity", (index,), (layer.name,), tuple(sorted(set(map(float, shares)), reverse=True)))
            )
    return table


def _levels(
    kind: str, names: Sequence[str], usual: Sequence[float], layers: Mapping[str, Mapping[str, Sequence[float]]]
) -> Sequence[float]:
    """The levels of a knob of these layers, which share it."""
    found = usual
    for pattern, levels in layers.items():
        if kind in levels and any(fnmatchcase(name, pattern) for name in names):
            found = levels[kind]
    return found


def _check_patterns(info: ModelInfo, layers: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    names = [layer.name for layer in info.layers]
    problems = []
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in names):
            problems.append(unmatched(f"space.layers.{pattern}:", pattern, names))
    if problems:
        raise UserError(problems)


def unmatched(what: str, pattern: str, names: Sequence[str]) -> str:
    """What to say of a pattern that matches none of the layers `names`; `what` begins the line."""
    return f"{what} matches no layer of the model{rooms.nearest(pattern, names)}; `pqsearch check` lists them"


def realised(group: GroupInfo, rates: Iterable[float], channel_multiple: int) -> tuple[float, ...]:
    """The rates that whole channels allow, most pruned first: removed / channels, exactly.

    What is kept is a multiple of the group's unit and of `channel_multiple`, or everything.
    """
    step = math.lcm(group.unit, channel_multiple)
    possible = sorted({*range(step, group.channels, step), group.channels}, reverse=True)
    kept = {min(possible, key=lambda number: abs(number - group.channels * (1 - rate))) for rate in rates}
    return tuple((group.channels - number) / group.channels for number in sorted(kept))


def _check_pins(info: ModelInfo, pin: Mapping[str, Mapping[str, float]]) -> None:
    layers = [layer.name for layer in info.layers]
    problems: list[str] = []
    pinned: dict[str, tuple[str, float]] = {}
    for name, values in pin.items():
        if name not in layers:
            near = rooms.nearest(name, layers)
            problems.append(f"space.pin.{name}: the model has no such layer{near}; `pqsearch check` lists them")
            continue
        group = next((group for group in info.groups if name in group.layers), None)
        rate, where = values.get("prune_rate"), f"space.pin.{name}.prune_rate"
        if rate and (group is None or not group.prunable):
            reason = group.reason if group else "its output has no channels to remove"
            problems.append(f"{where}: cannot be pruned ({reason}), got {rate:g}; pin it to 0 or leave it out")
        elif rate is not None and group is not None:
            other = pinned.setdefault(group.name, (name, rate))
            if other[1] != rate:
                problems.append(
                    f"{where}: must be {other[1]:g} as of {other[0]!r}, which shares channels, got {rate:g}"
                )
    if problems:
        raise UserError(problems)
