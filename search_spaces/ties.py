"""Knobs that move together: one for several layers, and one for a layer's weights and inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from pqsearch.errors import UserError
from pqsearch.plan import JOINT_KNOBS, ModelInfo
from search_spaces.knobs import Knob, unmatched

BITS = JOINT_KNOBS["bits"]


def tie(
    info: ModelInfo,
    table: Sequence[Knob],
    pin: Mapping[str, Mapping[str, float]],
    layers: Sequence[Sequence[str]],
    bits: bool,
) -> list[Knob]:
    """A table of knobs in which the bits of layers that match patterns of one entry of `layers` are one knob for each kind.

    With `bits` a layer's two kinds are one as well. A knob has the levels that all it is made of share; what is pinned stays
    out of it. Raises `UserError` where they share none, for patterns that match nothing and for layers of two entries.
    """
    found = _joint(table, pin) if bits else list(table)
    for number, names in enumerate(_entries(info, layers)):
        for kind in ("bits", *BITS):
            members = [
                knob
                for knob in found
                if knob.kind == kind
                and knob.name in names
                and not _pinned(knob, pin, (kind,) if kind in BITS else BITS)
            ]
            if len(members) > 1:
                values = _shared(
                    f"space.tie[{number}]", [(f"{kind} of {knob.name!r}", knob.values) for knob in members]
                )
                targets = tuple(knob.targets[0] for knob in members)
                one = Knob(kind, targets, tuple(knob.name for knob in members), values)
                found = [one if knob is members[0] else knob for knob in found if knob not in members[1:]]
    return found


def _joint(table: Sequence[Knob], pin: Mapping[str, Mapping[str, float]]) -> list[Knob]:
    """The table with one knob for the bits of every layer that has none pinned, where those of its weights were."""
    weights, inputs = ({knob.name: knob for knob in table if knob.kind == kind} for kind in BITS)
    made = {
        name: Knob(
            "bits",
            knob.targets,
            knob.names,
            _shared("space.tie_bits", [(f"{one.kind} of {name!r}", one.values) for one in (knob, inputs[name])]),
        )
        for name, knob in weights.items()
        if not _pinned(knob, pin, BITS)
    }
    found = []
    for knob in table:
        if knob.kind == BITS[0]:
            found.append(made.get(knob.name, knob))
        elif knob.kind != BITS[1] or knob.name not in made:
            found.append(knob)
    return found


def _pinned(knob: Knob, pin: Mapping[str, Mapping[str, float]], kinds: Sequence[str]) -> bool:
    return any(kind in pin.get(knob.name, {}) for kind in kinds)


def _shared(where: str, sides: Sequence[tuple[str, Sequence[float]]]) -> tuple[float, ...]:
    first, values = sides[0]
    shared = set(values)
    for name, others in sides[1:]:
        if not shared & set(others):
            had, has = (", ".join(f"{value:g}" for value in sorted(one)) for one in (shared, others))
            raise UserError(
                f"{where}: {name} must share a level with {first}, which leaves {had}, got {has}; "
                "give both a level in [space] or [space.layers]"
            )
        shared &= set(others)
    return tuple(sorted(shared))


def _entries(info: ModelInfo, layers: Sequence[Sequence[str]]) -> list[set[str]]:
    """The layers of each entry, by name."""
    names = [layer.name for layer in info.layers]
    problems, entries = [], []
    owner: dict[str, int] = {}
    for number, patterns in enumerate(layers):
        mine = set()
        for pattern in patterns:
            matching = [name for name in names if fnmatchcase(name, pattern)]
            if not matching:
                problems.append(unmatched(f"space.tie[{number}]: {pattern!r}", pattern, names))
            mine.update(matching)
        twice = [name for name in names if name in mine and name in owner]
        if twice:
            problems.append(
                f"space.tie[{number}]: {twice[0]!r} is in space.tie[{owner[twice[0]]}] already; make one entry of the two"
            )
        owner |= dict.fromkeys(mine, number)
        entries.append(mine)
    if problems:
        raise UserError(problems)
    return entries
