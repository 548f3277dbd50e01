"""Tables of measured latencies as JSON files: read and checked against the model that they are of. No torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.plan import LayerInfo, ModelInfo
from search_spaces.latency import ANY_BITS, Kernel, LatencyTable

LATENCY_FORMAT = 1
UNIT = "ms"
CHANNELS, BITS = ("in_channels", "out_channels"), ("weight_bits", "act_bits")
KEYS = (*CHANNELS, *BITS, UNIT)
MOST_BITS = 32
#: Milliseconds of a layer; sums of so many whole nanoseconds are exact in float64.
MOST_MS = 1_000_000
NANOSECONDS = 1_000_000


def read_latency(path: str | Path, info: ModelInfo) -> LatencyTable:
    """The table in a file. Raises `UserError` with everything that is wrong with it, or that it lacks for the model."""
    data = read_table(path)
    problems = [f"{path}: {problem}" for problem in _problems(data, info)]
    if problems:
        raise UserError(problems)
    layers = {layer.name: tuple(_kernels(data["layers"][layer.name], layer)) for layer in info.layers}
    words = [str(data.get("device", "device not named")), f"batch size {data['batch_size']}"]
    return LatencyTable(layers, ", ".join([*words, f"threads {data['threads']}"] if "threads" in data else words))


def read_table(path: str | Path) -> Any:
    """The content of a file, unchecked. Raises `UserError` if it cannot be read or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"latency.table: {path} cannot be read ({error.strerror}); `pqsearch latency SPEC --out {path}` measures one"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); `pqsearch latency SPEC --out FILE` measures a table") from None


def digest(path: str | Path) -> str:
    """16 hexadecimal digits, the same for files of equal content. Raises `UserError` as `read_table`."""
    text = json.dumps(read_table(path), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kernels(rows: Sequence[Mapping[str, Any]], layer: LayerInfo) -> Iterator[Kernel]:
    """Measurements of one layer by the bits that they are of."""
    for (weight_bits, act_bits), found in _by_bits(rows).items():
        reads, writes = (tuple(sorted({channels[side] for channels in found})) for side in (0, 1))
        if layer.depthwise:
            grid = [[found[channels, channels] for channels in writes]]
            reads = reads[:1]
        else:
            grid = [[found[read, written] for written in writes] for read in reads]
        whole = tuple(tuple(max(1, round(ms * NANOSECONDS)) for ms in line) for line in grid)
        yield Kernel(reads, writes, whole, weight_bits, act_bits)


def _by_bits(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[float, float], dict[tuple[int, int], float]]:
    """Milliseconds by bits, then by channels."""
    found: dict[tuple[float, float], dict[tuple[int, int], float]] = {}
    for row in rows:
        bits = (row.get("weight_bits", ANY_BITS), row.get("act_bits", ANY_BITS))
        found.setdefault(bits, {})[row["in_channels"], row["out_channels"]] = row[UNIT]
    return found


def _problems(data: Any, info: ModelInfo) -> Iterator[str]:
    if not isinstance(data, dict) or data.get("format") != LATENCY_FORMAT:
        got = repr(data.get("format")) if isinstance(data, dict) else type(data).__name__
        yield f"format: must be {LATENCY_FORMAT}, got {got}; `pqsearch latency SPEC --out FILE` measures a table"
        return
    if data.get("unit") != UNIT:
        yield f"unit: must be {UNIT!r}, milliseconds of one image, got {data.get('unit')!r}"
    size = data.get("batch_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        yield f"batch_size: must be a whole number, at least 1: the images computed together, got {size!r}"
    layers = data.get("layers")
    if not isinstance(layers, dict):
        yield f"layers: must be an object with a list of measurements for each layer, got {type(layers).__name__}"
        return
    known = [layer.name for layer in info.layers]
    for name in layers:
        if name not in known:
            yield f"layers.{name}: the model has no such layer{rooms.nearest(name, known)}; `pqsearch check` lists them"
    for layer in info.layers:
        if layer.name not in layers:
            yield f"layers.{layer.name}: is missing; every convolution and linear layer of the model must be measured"
        else:
            yield from (f"layers.{layer.name}{problem}" for problem in _layer_problems(layers[layer.name], layer))


def _layer_problems(rows: Any, layer: LayerInfo) -> Iterator[str]:
    if not isinstance(rows, list) or not rows:
        yield f": must be a list of measurements, at least one, got {rows!r:.60}"
        return
    seen: dict[tuple[Any, ...], int] = {}
    whole = True
    for index, row in enumerate(rows):
        problems = list(_row_problems(row, layer))
        yield from (f"[{index}]{problem}" for problem in problems)
        whole = whole and not problems
        if not problems:
            key: tuple[Any, ...] = tuple(row.get(name) for name in (*CHANNELS, *BITS))
            if key in seen:
                yield f"[{index}]: measures the same as [{seen[key]}]; keep one of them"
            seen.setdefault(key, index)
    if whole:
        for bits, found in _by_bits(rows).items():
            yield from (f": {problem}{_bits_words(bits)}" for problem in _grid_problems(found, layer))


def _row_problems(row: Any, layer: LayerInfo) -> Iterator[str]:
    if not isinstance(row, dict):
        yield f": must be an object, got {row!r:.60}"
        return
    for key in row:
        if key not in KEYS:
            yield f".{key}: unknown key{rooms.nearest(key, KEYS)}, choose from {', '.join(KEYS)}"
    for key in CHANNELS:
        if not _whole(row.get(key)) or row[key] < 1:
            yield f".{key}: must be a whole number, at least 1, got {row.get(key)!r}"
    for key in BITS:
        if key in row and not (_whole(row[key]) and 1 <= row[key] <= MOST_BITS):
            yield f".{key}: must be a whole number from 1 to {MOST_BITS}, or left out where bits make no difference, got {row[key]!r}"
    ms = row.get(UNIT)
    if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not math.isfinite(ms) or not 0 < ms <= MOST_MS:
        yield f".{UNIT}: must be above 0 and at most {MOST_MS}, got {ms!r}"
    if layer.depthwise and row.get("in_channels") != row.get("out_channels"):
        yield (
            f".out_channels: must be in_channels, which is {row.get('in_channels')!r}, as the convolution is depthwise, "
            f"got {row.get('out_channels')!r}"
        )


def _grid_problems(found: Mapping[tuple[int, int], float], layer: LayerInfo) -> Iterator[str]:
    """Between measurements one can interpolate where they are a grid; above the largest nothing is known."""
    reads, writes = (sorted({channels[side] for channels in found}) for side in (0, 1))
    if reads[-1] < layer.in_channels or writes[-1] < layer.out_channels:
        yield (
            f"is measured up to {reads[-1]}->{writes[-1]} channels, the model's layer has "
            f"{layer.in_channels}->{layer.out_channels}; measure it whole too"
        )
    missing = [(a, b) for a in reads for b in writes if (a, b) not in found and not layer.depthwise]
    if missing:
        listed = ", ".join(f"{a}->{b}" for a, b in missing[:3]) + (", ..." if len(missing) > 3 else "")
        yield f"every in_channels must be measured with every out_channels, not measured are {listed}"


def _bits_words(bits: tuple[float, float]) -> str:
    words = [f"{name} {value}" for name, value in zip(BITS, bits, strict=True) if value != ANY_BITS]
    return f" (at {', '.join(words)})" if words else ""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
