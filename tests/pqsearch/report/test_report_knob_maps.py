"""Heat maps of knobs hold the numbers they were given."""

from __future__ import annotations

from typing import Any

from pqsearch.report import knob_maps


def _drawn(figure: Any) -> list[tuple[str, str, float]]:
    """Name, value and cost of every cell of a heat map that is not empty."""
    return [
        (name, value, cost)
        for trace in figure.data
        for name, row in zip(trace.y, trace.customdata, strict=True)
        for value, cost in zip(trace.x, row, strict=True)
        if cost is not None
    ]


def test_the_heat_map_has_a_cell_for_every_row_of_the_table_and_layers_in_the_order_of_the_network() -> None:
    """The first and the last layer have fixed bits; the groups are named after the first of their layers."""
    layers = {
        "prune_rate": ("conv1", "block1", "block3"),
        "weight_bits": ("block1", "block2", "block3"),
        "act_bits": ("block2",),
    }
    values = {"prune_rate": (0.0, 0.5), "weight_bits": (2, 8), "act_bits": (4, 8)}
    table = [
        {"kind": kind, "name": name, "value": value, "cost": 0.001 * (1 + len(kind) + place)}
        for kind, names in layers.items()
        for place, name in enumerate(names)
        for value in values[kind]
    ]
    figure = knob_maps.sensitivity(table)
    assert sorted(_drawn(figure)) == sorted((row["name"], f"{row['value']:.3g}", row["cost"]) for row in table)
    assert [list(trace.y) for trace in figure.data] == [["conv1", "block1", "block2", "block3"]] * 3
    bits_only = knob_maps.sensitivity([row for row in table if row["kind"] == "act_bits"])
    assert [list(trace.y) for trace in bits_only.data] == [["block2"]]


def test_a_knob_of_several_layers_says_how_many_more_it_has() -> None:
    table = [{"kind": "bits", "name": "conv1", "tied": ["conv2", "conv3"], "value": 4, "cost": 0.1}]
    assert _drawn(knob_maps.sensitivity(table)) == [("conv1 + 2", "4", 0.1)]


def test_agreement_shows_the_share_of_plans_at_each_value() -> None:
    table = [
        {"kind": "weight_bits", "name": "conv", "value": value, "share": share}
        for value, share in ((2, 0.25), (8, 0.75))
    ]
    (trace,) = knob_maps.agreement(table).data
    assert (list(trace.x), [list(row) for row in trace.z]) == (["2", "8"], [[0.25, 0.75]])
