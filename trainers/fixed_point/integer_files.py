"""An integer network for hardware teams: `integers.json` (formats, operations), `integers.npz` (the integers), `integers.h` (C)."""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pqsearch.errors import UserError
from trainers import files
from trainers.fixed_point.integer import Format, IntegerLayer, IntegerNetwork

JSON, ARRAYS, HEADER = "integers.json", "integers.npz", "integers.h"
#: Integers on a line of the header.
PER_LINE = 16
#: Letters on a line of its comment.
WIDTH = 110
RULES = (
    "A number is integer / (divisor x 2^fraction_length); the image is float, and what only moves its values. Operations are torch's of "
    "that name: `inputs` are what they read, by id, `arguments` and `keywords` all else, constants as values and not as integers, and "
    "`part` counts the results of those that have several. A layer rounds its inputs to the format `input`, multiplies, adds up in "
    "accumulator_bits, adds the bias shifted left to the sums' fraction length (input + weight), and rounds to `output`. Rounding to a "
    "format: floor(value x 2^fraction_length + 1/2), clipped to its ends (signed: -2^(bits-1) to 2^(bits-1)-1, else 0 to 2^bits-1). "
    "An average keeps the sum and the number of places as divisor, until a layer rounds it. Additions and joins shift left to the "
    "finest of their operands; a join of different divisors takes their least common multiple, and multiplies integers by what theirs "
    "lacks. `clamp`, `relu6`, `hardtanh` and `pad` shift left to where the grid has their constants, and `minimum` by as much as its "
    "row says, whose arguments are the largest value that each channel may have. `leaky_relu` shifts left by 8 what is not negative, "
    "and multiplies all else by the slope x 2^8. Layers pad with zeros where `padding_mode` is no other, `pad` where it has no value. "
    "Weights are [out, in/groups, height, width] or [out, in], the last index fastest."
)


def write(network: IntegerNetwork, folder: Path, input_shape: tuple[int, ...], more: Mapping[str, Any]) -> list[Path]:
    """Write an integer network for images of `input_shape` (channels, height, width); `more` goes into the JSON as it is. Returns the
    files written. Raises `UserError` where the forward pass does what integers cannot.
    """
    operations, names = network.operations(input_shape), c_names(network.layers)
    data = {
        "format": 1,
        "rules": RULES,
        **more,
        "input_shape": list(input_shape),
        "layers": [_described(network, name, names[name]) for name in network.layers],
        "operations": operations,
    }
    arrays = {key: value for name, layer in network.layers.items() for key, value in _arrays(name, layer)}
    written = [folder / name for name in (JSON, ARRAYS, HEADER)]
    with files.atomic(written[0]) as file:
        file.write(json.dumps(data, indent=1).encode())
    with files.atomic(written[1]) as file:
        np.savez_compressed(file, **arrays)
    with files.atomic(written[2]) as file:
        file.write("".join(_header(network.layers)).encode())
    return written


def read(folder: Path) -> dict[str, IntegerLayer]:
    """The layers that `write` has written. Raises `UserError` for files that are missing or not of it."""
    try:
        data = json.loads((folder / JSON).read_text())
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            return {row["name"]: _layer(row, arrays) for row in data["layers"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: holds no integer files ({error}); `pqsearch run` with [fixed_point] writes them"
        ) from None


def _described(network: IntegerNetwork, name: str, c_name: str) -> dict[str, Any]:
    layer = network.layers[name]
    formats = {key: asdict(one) if one is not None else None for key, one in _formats(layer).items()}
    return {
        "name": name,
        "c_name": c_name,
        **network.shape_of(name),
        "weight_shape": list(layer.weights.shape),
        **formats,
        "accumulator_bits": layer.accumulator_bits,
    }


def _formats(layer: IntegerLayer) -> dict[str, Format | None]:
    return {"input": layer.input, "weight": layer.weight, "bias": layer.bias, "output": layer.output}


def _arrays(name: str, layer: IntegerLayer) -> Iterator[tuple[str, Any]]:
    yield f"{name}.weight", layer.weights.numpy().astype(_numpy_type(layer.weight))
    if layer.bias is not None and layer.biases is not None:
        yield f"{name}.bias", layer.biases.numpy().astype(_numpy_type(layer.bias))


def _layer(row: dict[str, Any], arrays: Any) -> IntegerLayer:
    name = row["name"]
    found = {key: Format(**row[key]) if row[key] is not None else None for key in ("input", "weight", "bias", "output")}
    if found["input"] is None or found["weight"] is None:
        raise ValueError(f"{name} has no format")
    biases = torch.from_numpy(arrays[f"{name}.bias"]).long() if found["bias"] is not None else None
    weights = torch.from_numpy(arrays[f"{name}.weight"]).long()
    return IntegerLayer(
        found["input"], found["weight"], found["bias"], found["output"], weights, biases, row["accumulator_bits"]
    )


def _numpy_type(given: Format) -> type[np.signedinteger[Any]]:
    return np.int8 if given.bits <= 8 else np.int16


def c_names(names: Iterable[str]) -> dict[str, str]:
    """Layers' names as C has names; those that would be one, in capitals as macros are, are numbered."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        first = re.sub(r"\W", "_", name if not name[:1].isdigit() else f"_{name}")
        numbered = (f"{first}_{number}" for number in itertools.count(2))
        found[name] = next(one for one in itertools.chain([first], numbered) if one.upper() not in taken)
        taken.add(found[name].upper())
    return found


def _header(layers: Mapping[str, IntegerLayer]) -> Iterator[str]:
    yield "/* " + "\n   ".join(textwrap.wrap(RULES, WIDTH)) + " */\n#pragma once\n#include <stdint.h>\n"
    names = c_names(layers)
    for name, layer in layers.items():
        mine = names[name]
        yield f"\n/* {name}: sums need {layer.accumulator_bits} bits */\n"
        for key, given in _formats(layer).items():
            if given is not None:
                for word, value in (
                    ("BITS", given.bits), ("SIGNED", int(given.signed)), ("FRACTION_LENGTH", given.fraction_length),
                ):  # fmt: skip
                    yield f"#define {mine.upper()}_{key.upper()}_{word} ({value})\n"
        yield _array(f"{mine}_weight", layer.weights, layer.weight)
        if layer.biases is not None and layer.bias is not None:
            yield _array(f"{mine}_bias", layer.biases, layer.bias)


def _array(name: str, values: Tensor, given: Format) -> str:
    flat = values.flatten().tolist()
    lines = [", ".join(map(str, flat[start : start + PER_LINE])) for start in range(0, len(flat), PER_LINE)]
    kind = "int8_t" if given.bits <= 8 else "int16_t"
    return f"static const {kind} {name}[{len(flat)}] = {{\n" + ",\n".join(lines) + "\n};\n"
