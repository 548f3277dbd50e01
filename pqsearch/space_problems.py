"""Levels that no knob can have, and knobs that there are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pqsearch import rooms
from pqsearch.plan import FLOAT_BITS, GROUP_KNOBS, LAYER_KNOBS, SHARES
from pqsearch.sparsity import BLOCKS, WORDS, Pattern, pattern_of
from pqsearch.type_problems import is_number

KNOBS = (*GROUP_KNOBS, *LAYER_KNOBS)


def space_problems(space: Mapping[str, Any], quantizer: str) -> Iterator[str]:
    """Of `[space]`, as it is written, with the bits that a quantiser has."""
    bits_known = rooms.constants("quantizers", quantizer)["BITS"]
    text = space.get("sparsity_pattern", "layer")
    pattern = pattern_of(text) if isinstance(text, str) else Pattern()
    if pattern is None:
        blocks = ", ".join(map(str, BLOCKS))
        yield f"space.sparsity_pattern: must be {WORDS} with M one of {blocks} and N below it, got {text!r}"
    for key in ("prune_rate", "weight_bits", "act_bits", "sparsity"):
        levels = space.get(key)
        for index, value in enumerate(levels if isinstance(levels, list) else []):
            if problem := _level_problem(key, value, pattern, bits_known):
                yield f"space.{key}[{index}]: {problem}"
    bits = space.get("first_last_bits", 0)
    if is_number(bits) and 0 < bits <= FLOAT_BITS and not _legal_bits(bits, bits_known):
        fewest, most = bits_known
        yield f"space.first_last_bits: must be {fewest} to {most}, 32 for float, or 0 to search them, got {bits}"
    ties = space.get("tie")
    for index, entry in enumerate(ties if isinstance(ties, list) else []):
        if entry == []:
            yield f"space.tie[{index}]: must not be empty, got []; name the layers whose bits move together"
    layers = space.get("layers")
    for names, knobs in layers.items() if isinstance(layers, dict) else ():
        for knob, levels in knobs.items() if isinstance(knobs, dict) else ():
            where = f"space.layers.{names}.{knob}"
            if knob not in KNOBS:
                yield f"{where}: unknown knob, choose from {', '.join(KNOBS)}"
            elif levels == []:
                yield f"{where}: must not be empty, got []"
            else:
                for index, value in enumerate(levels if isinstance(levels, list) else []):
                    if problem := _level_problem(knob, value, pattern, bits_known):
                        yield f"{where}[{index}]: {problem}"
    pin = space.get("pin")
    for layer, knobs in pin.items() if isinstance(pin, dict) else ():
        for knob, value in knobs.items() if isinstance(knobs, dict) else ():
            if isinstance(value, dict):
                continue  # a layer's name in pieces: the type error says so
            if knob not in KNOBS:
                yield f"space.pin.{layer}.{knob}: unknown knob, choose from {', '.join(KNOBS)}"
            elif problem := _level_problem(knob, value, pattern, bits_known):
                yield f"space.pin.{layer}.{knob}: {problem}"


def _level_problem(knob: str, value: Any, pattern: Pattern | None, bits_known: tuple[int, int]) -> str | None:
    if not is_number(value):
        return None  # a type error, reported as such
    if knob == "sparsity" and pattern is not None and (problem := pattern.problem(value)):
        return f"{problem}, got {value!r}"
    if knob in SHARES:
        return None if 0 <= value < 1 else f"must be in [0, 1), got {value!r}"
    fewest, most = bits_known
    return None if _legal_bits(value, bits_known) else f"must be {fewest} to {most}, or 32 for float, got {value!r}"


def _legal_bits(bits: float, known: tuple[int, int]) -> bool:
    return bits == int(bits) and (known[0] <= bits <= known[1] or bits == FLOAT_BITS)
