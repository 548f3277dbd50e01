"""Plans beside each other, layer by layer, as text and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError, writing
from pqsearch.plan import Plan
from pqsearch.plan_file import read_recipe
from pqsearch.run_dir import RunDirectory, write_atomically
from pqsearch.tables import text_table


@dataclass(frozen=True)
class Named:
    """A plan by the words that it was asked for with; `accuracy` on the test images where its run is finished."""

    name: str
    plan: Plan
    accuracy: float | None
    costs: Mapping[str, float]
    info: Mapping[str, Any] | None


def read_plans(places: Sequence[str]) -> list[Named]:
    """Plans from run directories and plan files. Raises `UserError` for fewer than two, and for plans of different networks."""
    if len(places) < 2:
        raise UserError(f"{places[0]}: is one plan; give two or more to compare")
    plans = [_read(place) for place in places]
    first = plans[0]
    for other in plans[1:]:
        if first.plan.layers.keys() != other.plan.layers.keys():
            mine, theirs = (
                first.plan.layers.keys() - other.plan.layers.keys(),
                other.plan.layers.keys() - first.plan.layers.keys(),
            )
            name = next(iter([*mine, *theirs]))
            owner = first.name if name in mine else other.name
            raise UserError(f"{other.name}: is of another network than {first.name}: only {owner} has the layer {name}")
    return plans


def _read(place: str) -> Named:
    if Path(place).is_file():
        plan, _ = read_recipe(place)
        return Named(place, plan, None, {}, None)
    run = RunDirectory.existing(place)
    if not run.plan.is_file():
        raise UserError(f"{place}: has no plan.json yet; `pqsearch run` writes it at the end")
    plan, _ = read_recipe(run.plan)
    found = (run.read(run.summary) or {}).get("searched") or {}
    costs = {
        key: found[key]
        for key in ("flops", "params_ratio", "mean_weight_bits", "mean_act_bits", "size_bytes")
        if key in found
    }
    return Named(place, plan, found.get("test_accuracy"), costs, run.read(run.layers))


def compare(plans: Sequence[Named], everything: bool = False) -> str:
    """A table of the layers in which the plans differ (or of all), a column for each plan, and what each plan came to."""
    heads = ("", *(f"[{number}]" for number in range(1, len(plans) + 1)))
    names = [f"[{number}] {one.name}" for number, one in enumerate(plans, start=1)]
    knobs = list(_rows(plans))
    rows = [row for row in knobs if everything or len(set(row[1:])) > 1]
    summary = [row for row in _summary(plans) if any(row[1:])]
    same = len(knobs) - len(rows)
    left = [] if not same else [f"{same} knobs are the same in all (--all shows them)"]
    return "\n".join([*names, text_table(heads, [*summary, *rows]), *left])


def _rows(plans: Sequence[Named]) -> Iterator[tuple[str, ...]]:
    for group in dict.fromkeys(name for one in plans for name in one.plan.groups):
        yield (f"{group} pruned", *(f"{one.plan.prune_rate(group):.3g}" for one in plans))
    for layer in plans[0].plan.layers:
        bits = [one.plan.layer(layer) for one in plans]
        yield (f"{layer} weight bits", *(str(one.weight_bits) for one in bits))
        yield (f"{layer} activation bits", *(str(one.act_bits) for one in bits))
        if any(one.sparsity for one in bits):
            yield (f"{layer} zeros", *(f"{one.sparsity:.3g}" for one in bits))


def _summary(plans: Sequence[Named]) -> Iterator[tuple[str, ...]]:
    yield ("test accuracy %", *("" if one.accuracy is None else f"{100 * one.accuracy:.2f}" for one in plans))
    for key in dict.fromkeys(key for one in plans for key in one.costs):
        yield (key, *(f"{one.costs[key]:.4g}" if key in one.costs else "" for one in plans))


def write_picture(plans: Sequence[Named], path: str | Path) -> None:
    """The same as bars, in a page of its own. Raises `UserError` where no plan comes with the layers of its network."""
    from pqsearch.report.figures import layers

    info = next((one.info for one in plans if one.info is not None), None)
    if info is None:
        raise UserError(
            f"--out {path}: plan files alone do not tell the layers' sizes; give one of the plans as its run directory"
        )
    colours = ("#1f6feb", "#d1571f", "#2a9d5c", "#8250df", "#b08800", "#57606a")
    named = {f"[{number}] {one.name}": one for number, one in enumerate(plans, start=1)}
    figure = layers(
        info,
        {name: one.plan.to_json() for name, one in named.items()},
        {name: colours[place % len(colours)] for place, name in enumerate(named)},
    )
    with writing(f"--out {path}"):
        write_atomically(Path(path), figure.to_html(include_plotlyjs=True, full_html=True))
