"""`pqsearch meter`: what every layer of a network costs, before and after a plan. No Ray, and no weights are needed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pqsearch.applying import plan_of
from pqsearch.errors import UserError, writing
from pqsearch.plan import Plan
from pqsearch.prepare import Prepared, prepare
from pqsearch.run_dir import RunDirectory, is_run, write_atomically
from pqsearch.spec import Spec, load_spec
from pqsearch.tables import text_table
from trainers.baseline import initial_model
from trainers.compress import compress
from trainers.heads import SHAPELESS
from trainers.measure import LayerCosts, measure_layers, totals

#: What is said of a layer, in this order.
FIGURES = ("params", "macs", "inputs", "weight_bits", "act_bits", "size_bytes", "bitops", "intensity")
#: What is said of the whole network.
TOTALS = ("params", "macs", "weight_bits", "act_bits", "size_bytes", "bitops")
#: Modules that are named as not counted; of more there is the number.
MOST_NAMED = 8
HEADS = ("layer", "kind", "channels", "params", "MACs", "inputs", "W bits", "A bits", "bytes", "BitOps", "MACs/byte")


@dataclass(frozen=True)
class Metered:
    """Costs of one image: of every layer in forward order, and of the whole network; `after` is None without a plan. `uncounted` are
    modules with parameters of their own, other than norms and activations, whose multiply-accumulates nobody counts.
    """

    before: Sequence[LayerCosts]
    after: Sequence[LayerCosts] | None
    total_before: Mapping[str, float]
    total_after: Mapping[str, float] | None
    uncounted: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Layers by name, and the total, each `before` and where there is a plan `after`."""
        layers = {row.name: {"kind": row.kind, "before": _figures(row)} for row in self.before}
        total = {"before": {key: self.total_before[key] for key in TOTALS}}
        for row in self.after or ():
            layers[row.name]["after"] = _figures(row)
        if self.total_after is not None:
            total["after"] = {key: self.total_after[key] for key in TOTALS}
        return {"layers": layers, "total": total}

    def to_csv(self) -> str:
        """A line for each layer, and the columns of `to_json`; the first line names them."""
        sides = ("before",) if self.after is None else ("before", "after")
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        keys = ("in_channels", "out_channels", *FIGURES)
        writer.writerow(["layer", "kind", *(f"{key}_{side}" for side in sides for key in keys)])
        for name, row in self.to_json()["layers"].items():
            writer.writerow([name, row["kind"], *(row[side][key] for side in sides for key in keys)])
        return file.getvalue()

    def table(self) -> str:
        """For reading; `a > b` is before and after."""
        after = self.after if self.after is not None else self.before
        rows = [_cells(old, new) for old, new in zip(self.before, after, strict=True)]
        old, new = self.total_before, self.total_after if self.total_after is not None else self.total_before
        total = [_change(old[key], new[key], key) for key in TOTALS]
        params, macs, weight_bits, act_bits, size, bitops = total
        inputs = _change(sum(row.inputs for row in self.before), sum(row.inputs for row in after), "inputs")
        last = ("network", "", "", params, macs, inputs, weight_bits, act_bits, size, bitops, "")
        found = text_table(HEADS, [*rows, last])
        if not self.uncounted:
            return found
        more = len(self.uncounted) - MOST_NAMED
        names = ", ".join(self.uncounted[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{found}\nnot counted but in the network's params and bytes: {names}"


def meter(target: str | Path, overrides: Sequence[str] = (), plan_file: str | Path | None = None) -> Metered:
    """Costs of a spec's network, or of a run's; after a plan from anywhere, or the run's own where it has one.

    Raises `UserError` for a plan of another network, naming the first layer or group that differs.
    """
    if is_run(target):
        run = RunDirectory.existing(target)
        spec = run.read_spec(overrides)
        plan_file = plan_file or (run.plan if run.plan.is_file() else None)
    else:
        spec = load_spec(target, overrides)
    prepared = prepare(_any_weights(spec))
    model = initial_model(prepared.spec, prepared.dataset)
    return metered(model, prepared, None if plan_file is None else plan_of(plan_file, prepared.info))


def metered(model: nn.Module, prepared: Prepared, plan: Plan | None) -> Metered:
    """Costs of a network, and of what a plan makes of it."""
    shape = prepared.dataset.input_shape
    before = measure_layers(model, shape)
    if plan is None:
        return Metered(before, None, totals(model, before), None, _uncounted(model, before))
    spec = prepared.spec
    smaller = compress(
        model,
        plan,
        traced=prepared.traced,
        quantizer=spec.quantizer.name,
        quantizer_options=spec.quantizer.options,
        sparsity_pattern=spec.space.sparsity_pattern,
    )
    after = measure_layers(smaller, shape)
    return Metered(before, after, totals(model, before), totals(smaller, after), _uncounted(model, before))


def _uncounted(model: nn.Module, rows: Sequence[LayerCosts]) -> list[str]:
    """With the kind of each."""
    counted = {row.name for row in rows}
    light = (*SHAPELESS, nn.InstanceNorm1d)
    return [
        f"{name or 'the network itself'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if name not in counted and not isinstance(module, light) and any(True for _ in module.parameters(recurse=False))
    ]


def write(
    found: Metered, *, csv_file: str | None = None, json_file: str | None = None, picture_file: str | None = None
) -> None:
    """Into the files that are named. Raises `UserError` for one that cannot be written, and a picture that is neither PNG nor SVG."""
    if picture_file is not None:
        from pqsearch import meter_picture

        if Path(picture_file).suffix not in meter_picture.FORMATS:
            raise UserError(f"--picture {picture_file}: must end in {' or '.join(meter_picture.FORMATS)}")
        with writing(f"--picture {picture_file}"):
            meter_picture.save(found, Path(picture_file))
    for option, file, text in (
        ("--csv", csv_file, found.to_csv()),
        ("--json", json_file, json.dumps(found.to_json(), indent=1) + "\n"),
    ):
        if file is None:
            continue
        with writing(f"{option} {file}"):
            write_atomically(Path(file), text)


def _any_weights(spec: Spec) -> Spec:
    """Costs do not depend on weights."""
    return spec.model_copy(update={"model": spec.model.model_copy(update={"weights": None})})


def _figures(row: LayerCosts) -> dict[str, Any]:
    keys = ("in_channels", "out_channels", *FIGURES)
    return {key: getattr(row, key) for key in keys}


def _cells(old: LayerCosts, new: LayerCosts) -> tuple[str, ...]:
    channels = [f"{row.in_channels}->{row.out_channels}" for row in (old, new)]
    return (
        old.name,
        old.kind,
        channels[0] if channels[0] == channels[1] else " > ".join(channels),
        *(_change(getattr(old, key), getattr(new, key), key) for key in FIGURES),
    )


def _change(old: float, new: float, key: str) -> str:
    words = [_short(value, key) for value in (old, new)]
    return words[0] if words[0] == words[1] else " > ".join(words)


def _short(value: float, key: str) -> str:
    if key in ("weight_bits", "act_bits", "intensity"):
        return f"{value:.3g}"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:  # three digits of less are a thousand of the unit below
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"
