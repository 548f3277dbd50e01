"""`pqsearch latency`: measure on this machine the table that the budget `latency_ms` is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pqsearch import environment
from pqsearch.console import Progress
from pqsearch.errors import UserError, writing
from pqsearch.latency_file import LATENCY_FORMAT, UNIT
from pqsearch.plan import FIXED, LayerInfo, ModelInfo, channels_kept
from pqsearch.prepare import load_data
from pqsearch.run_dir import write_atomically
from pqsearch.space_of import space_of
from pqsearch.spec import Spec, load_spec
from pqsearch.spec_search import LatencySpec
from trainers.baseline import initial_model
from trainers.device import pick, set_threads
from trainers.layers import trace
from trainers.timing import device_words, layer_inputs, milliseconds

#: Channel counts that are measured on each side of a layer.
MOST_COUNTS = 4
DIGITS = 6


def measure_latency(
    spec: Spec | str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    batch_size: int = 1,
    repeats: int = 30,
    threads: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """The table of latencies of a spec's model on this machine: every layer alone, in float32, at channels that its space leaves.

    Returns what is written to `out`: milliseconds of one image, of `batch_size` computed together, the median of `repeats`.
    `threads` are torch's, those of one of the spec's workers unless given; with `workers.gpus` it is the first GPU that is
    measured. Raises `UserError`.
    """
    problems = [
        f"--{name}: must be 1 to {most}, got {value}"
        for name, value, most in (
            ("batch-size", batch_size, 4096),
            ("repeats", repeats, 10_000),
            ("threads", threads, 1024),
        )
        if value is not None and not 1 <= value <= most
    ]
    if problems:
        raise UserError(problems)
    environment.set_defaults()
    spec = spec if isinstance(spec, Spec) else load_spec(spec, overrides)
    spec = _unlimited(spec)
    device = pick(spec.workers.gpus)
    set_threads(spec.workers.cpus if threads is None else threads)
    dataset, _ = load_data(spec)
    model = initial_model(spec, dataset)
    info = trace(model, dataset.input_shape).info
    kept = _kept(spec, info)
    modules, inputs = dict(model.named_modules()), layer_inputs(model, dataset.input_shape)
    layers: dict[str, list[dict[str, Any]]] = {}
    with Progress(quiet=quiet) as console:
        for layer in info.layers:
            state = {"stage": "latency", "total": len(info.layers), "unit": "layers", "role": layer.name}
            console.update({**state, "done": len(layers)})
            layers[layer.name] = [
                {
                    "in_channels": reads,
                    "out_channels": writes,
                    UNIT: _rounded(
                        milliseconds(
                            modules[layer.name], (reads, writes), inputs[layer.name], batch_size, repeats, device
                        )
                    ),
                }
                for reads, writes in _grid(layer, kept)
            ]
            console.update({**state, "done": len(layers)})
    table = {
        "format": LATENCY_FORMAT,
        "unit": UNIT,
        "batch_size": batch_size,
        "device": device_words(device, environment.hardware()),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "layers": layers,
    }
    if out is not None:
        with writing(f"--out {out}"):
            write_atomically(Path(out), json.dumps(table, indent=1) + "\n")
    return table


def _unlimited(spec: Spec) -> Spec:
    """The spec without what needs the table that is only being made, and without weights, which make no difference."""
    return spec.model_copy(
        update={
            "budgets": {},
            "latency": LatencySpec(),
            "target": None,
            "study": spec.study.model_copy(update={"objectives": [spec.study.score]}),
            "model": spec.model.model_copy(update={"weights": None}),
        }
    )


def _kept(spec: Spec, info: ModelInfo) -> list[list[int]]:
    """For each group the channels that plans may leave of it, ascending, and all of them."""
    found = [{group.channels} for group in info.groups]
    for knob in space_of(spec, info).knobs:
        if knob.kind == "prune_rate":
            (group,) = knob.targets
            found[group] |= {channels_kept(info.groups[group].channels, rate) for rate in knob.values}
    return [sorted(counts) for counts in found]


def _grid(layer: LayerInfo, kept: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Channels read and written that are measured: from the fewest to all of them, groups that are read together go together."""
    reads, writes = set(), set()
    for step in range(MOST_COUNTS):
        # Left of each group at this share of the way from the fewest to all.
        left = [counts[round(step * (len(counts) - 1) / (MOST_COUNTS - 1))] for counts in kept]
        reads.add(
            sum(
                source.repeat * (source.channels if source.group == FIXED else left[source.group])
                for source in layer.inputs
            )
        )
        writes.add(layer.out_channels if layer.output == FIXED else left[layer.output])
    if layer.depthwise:
        return [(channels, channels) for channels in sorted(writes)]
    return [(a, b) for a in sorted(reads) for b in sorted(writes)]


def _rounded(milliseconds: float) -> float:
    """To whole nanoseconds, which is what a table is used in; a layer takes at least one."""
    return max(round(milliseconds, DIGITS), 10.0**-DIGITS)
