"""What layers take by a table: between measurements, at bits that were not measured, summed over random plans."""

from __future__ import annotations

import bisect
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqsearch.errors import UserError
from pqsearch.latency_file import digest, read_latency
from pqsearch.plan import LayerPlan, ModelInfo, Plan
from search_spaces.costs import Costs, costs_known
from search_spaces.latency import ANY_BITS, Kernel, LatencyTable
from search_spaces.space import Space
from tests.search_spaces.infos import chain, infos, random_genes, tangled
from tests.search_spaces.latencies import KERNELS, file_of, table_of

tables = st.sampled_from(
    [KERNELS, ((8, 8),), ((ANY_BITS, ANY_BITS),), ((8, ANY_BITS), (32, ANY_BITS)), ((8, 4), (4, 8))]
)


def _space(info: ModelInfo, table: LatencyTable | None, **options: Any) -> Space:
    given: dict[str, Any] = {"prune_rate": [0.0, 0.25, 0.5, 0.75], "weight_bits": [2, 4, 8], "act_bits": [2, 4, 8, 32]}
    return Space(info, latency=table, **{**given, **options})


def _one(kernel: Kernel, *others: Kernel) -> tuple[ModelInfo, LatencyTable]:
    """A convolution of 8 to 16 channels whose kernels are given; the rest takes one nanosecond a layer."""
    info = chain((8, 16))
    free = Kernel((1,), (1,), ((1,),))
    return info, LatencyTable({"conv0": (free,), "conv1": (kernel, *others), "head": (free,)}, "by hand")


def _milliseconds(
    info: ModelInfo, table: LatencyTable, reads: int, writes: int, bits: tuple[int, int] = (32, 32)
) -> float:
    """What `conv1` takes with so many channels, in nanoseconds."""
    plan = Plan({"conv0": 1 - reads / 8, "conv1": 1 - writes / 16}, {"conv1": LayerPlan(*bits)})
    return round(1e6 * _space(info, table).costs_of(plan)["latency_ms"]) - 2


def test_between_measured_channels_time_is_bilinear_and_below_the_fewest_it_is_theirs() -> None:
    info, table = _one(Kernel((4, 8), (8, 16), ((100, 300), (200, 800))))
    found = {
        pair: _milliseconds(info, table, *pair) for pair in [(4, 8), (8, 16), (6, 8), (4, 12), (6, 12), (2, 4), (2, 16)]
    }
    assert found == {(4, 8): 100, (8, 16): 800, (6, 8): 150, (4, 12): 200, (6, 12): 350, (2, 4): 100, (2, 16): 300}


def test_a_wider_layer_never_takes_less_than_a_narrower_one_that_was_measured() -> None:
    info, table = _one(Kernel((4, 8), (4, 8, 16), ((100, 900, 500), (400, 300, 700))))
    assert [_milliseconds(info, table, 4, writes) for writes in (4, 8, 12, 16)] == [100, 900, 900, 900]
    assert [_milliseconds(info, table, 8, writes) for writes in (4, 8, 12, 16)] == [400, 900, 900, 900]


def test_bits_that_were_not_measured_take_the_fastest_kernel_that_can_hold_them() -> None:
    info, table = _one(
        Kernel((8,), (16,), ((100,),), 4, 4),
        Kernel((8,), (16,), ((80,),), 8, 8),
        Kernel((8,), (16,), ((500,),), 32, 32),
    )
    found = {
        bits: _milliseconds(info, table, 8, 16, bits) for bits in [(2, 3), (4, 4), (4, 5), (8, 8), (8, 32), (32, 2)]
    }
    assert found == {(2, 3): 80, (4, 4): 80, (4, 5): 80, (8, 8): 80, (8, 32): 500, (32, 2): 500}


def test_bits_above_all_that_were_measured_take_as_long_as_the_slowest_kernel() -> None:
    info, table = _one(Kernel((8,), (16,), ((100,),), 4, 8), Kernel((8,), (16,), ((300,),), 8, 8))
    assert _milliseconds(info, table, 8, 16, (32, 32)) == 300


def test_without_bits_in_the_table_bits_change_nothing_and_are_no_levers_of_the_budget() -> None:
    info = chain()
    costs = Costs(info, ["latency_ms"], per_channel_steps=True, latency=table_of(info, ((ANY_BITS, ANY_BITS),)))
    assert (costs.changed_by("prune_rate"), costs.changed_by("weight_bits"), costs.changed_by("act_bits")) == (
        [0],
        [],
        [],
    )
    costs = Costs(info, ["latency_ms"], per_channel_steps=True, latency=table_of(info, ((8, ANY_BITS), (32, ANY_BITS))))
    assert (costs.changed_by("weight_bits"), costs.changed_by("act_bits")) == ([0], [])


def test_without_a_table_there_is_no_latency_among_the_costs() -> None:
    assert "latency_ms" not in costs_known(None)
    assert "latency_ms" not in _space(chain(), None).costs_of(Plan())
    assert "latency_ms" in _space(chain(), table_of(chain())).costs_of(Plan())


def _plain(info: ModelInfo, table: LatencyTable, plan: Plan) -> float:
    """The cost as one would compute it by hand, layer by layer, in fractions."""
    kept = [round(group.channels * (1 - plan.prune_rate(group.name))) for group in info.groups]
    total = 0
    for layer in info.layers:
        reads = sum(s.repeat * (kept[s.group] if s.group >= 0 else s.channels) for s in layer.inputs)
        writes = kept[layer.output] if layer.output >= 0 else layer.out_channels
        bits = plan.layer(layer.name)
        times = [(one, _at(one, reads, writes)) for one in table.layers[layer.name]]
        able = [t for one, t in times if one.weight_bits >= bits.weight_bits and one.act_bits >= bits.act_bits]
        total += min(able) if able else max(t for _, t in times)
    return total / 1_000_000


def _at(kernel: Kernel, reads: int, writes: int) -> int:
    def smooth(a: int, b: int) -> int:
        return max(kernel.nanoseconds[i][j] for i in range(a + 1) for j in range(b + 1))

    def place(counts: tuple[int, ...], count: int) -> tuple[int, int, Fraction]:
        low = max(0, bisect.bisect_right(counts, count) - 1)
        high = min(low + 1, len(counts) - 1)
        span = max(counts[high] - counts[low], 1)
        return low, high, min(max(Fraction(count - counts[low], span), Fraction(0)), Fraction(1))

    i, k, x = place(kernel.reads, reads)
    j, m, y = place(kernel.writes, writes)
    exact = (
        (1 - x) * (1 - y) * smooth(i, j)
        + (1 - x) * y * smooth(i, m)
        + x * (1 - y) * smooth(k, j)
        + x * y * smooth(k, m)
    )
    return round(exact)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(infos(), tables, st.integers(1, 4), st.integers(0, 999))
def test_costs_of_random_plans_equal_a_plain_sum_over_their_layers(
    info: ModelInfo, kernels: Any, points: int, seed: int
) -> None:
    table = table_of(info, kernels, points, seed)
    space = _space(info, table, budgets={"latency_ms": 1e9})
    genes = random_genes(space, 8, seed)
    costs = space.costs(genes)[:, 0]
    for row, cost in zip(genes.tolist(), costs.tolist(), strict=True):
        plan = space.decode(tuple(row))
        # A half may be rounded either way; every layer has at most one.
        assert cost == pytest.approx(_plain(info, table, plan), abs=1.1e-6 * len(info.layers))
        assert cost == space.costs_of(plan)["latency_ms"]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(infos(), tables, st.integers(0, 999))
def test_repair_holds_a_latency_beside_another_budget_and_leaves_no_level_that_would_fit(
    info: ModelInfo, kernels: Any, seed: int
) -> None:
    table = table_of(info, kernels, 3, seed)
    free = _space(info, table, pin={"conv0": {"weight_bits": 8, "act_bits": 8}})
    met = free.costs_of(free.decode(tuple(map(int, random_genes(free, 1, seed)[0]))))
    budgets = {name: met[name] for name in ("latency_ms", "weight_bits")}
    space = _space(info, table, pin={"conv0": {"weight_bits": 8, "act_bits": 8}}, budgets=budgets)
    found = space.repair(random_genes(space, 20, seed))
    assert np.all(space.costs(found) <= space.limits * (1 + 1e-9))
    for knob, levels in enumerate(space.levels):
        raised = found[found[:, knob] < levels - 1].copy()
        raised[:, knob] += 1
        assert not np.all(space.costs(raised) <= space.limits, axis=1).any()


def _read(folder: Path, info: ModelInfo, data: Any) -> LatencyTable:
    path = folder / "latency.json"
    path.write_text(json.dumps(data))
    return read_latency(path, info)


@pytest.mark.parametrize("info", [tangled(), chain()], ids=["tangled", "chain"])
def test_a_file_is_read_in_milliseconds_of_its_whole_layers(info: ModelInfo, tmp_path: Path) -> None:
    table = _read(tmp_path, info, file_of(info, 0.25))
    assert table.words == "a table on paper, batch size 1"
    space = _space(info, table)
    assert space.costs_of(Plan())["latency_ms"] == 0.25 * len(info.layers)


def test_files_of_equal_content_have_one_digest_and_another_number_gives_another(tmp_path: Path) -> None:
    data = file_of(chain())
    first, same, other = (tmp_path / name for name in ("first", "same", "other"))
    first.write_text(json.dumps(data))
    same.write_text(json.dumps(dict(reversed(data.items())), indent=3))
    data["layers"]["conv0"][0]["ms"] *= 1.5
    other.write_text(json.dumps(data))
    assert digest(first) == digest(same) != digest(other)


def _without(data: dict[str, Any], layer: str, index: int) -> None:
    del data["layers"][layer][index]


#: What is done to the table of `tangled`, and the whole answer behind the file's name.
WRONG: dict[str, tuple[Any, list[str]]] = {
    "a layer is missing": (
        lambda data: data["layers"].pop("side"),
        ["layers.side: is missing; every convolution and linear layer of the model must be measured"],
    ),
    "a layer that the model has not": (
        lambda data: data["layers"].update(steam=data["layers"]["stem"]),
        ["layers.steam: the model has no such layer, did you mean 'stem'?; `pqsearch check` lists them"],
    ),
    "several things at once": (
        lambda data: data.update(unit="s", batch_size=0, layers={**data["layers"], "stem": [], "side": 3}),
        [
            "unit: must be 'ms', milliseconds of one image, got 's'",
            "batch_size: must be a whole number, at least 1: the images computed together, got 0",
            "layers.stem: must be a list of measurements, at least one, got []",
            "layers.side: must be a list of measurements, at least one, got 3",
        ],
    ),
    "values that cannot be": (
        lambda data: data["layers"]["stem"][1].update(ms=-1, out_channels=0.5, weight_bits=64),
        [
            "layers.stem[1].out_channels: must be a whole number, at least 1, got 0.5",
            "layers.stem[1].weight_bits: must be a whole number from 1 to 32, or left out where bits make no difference, got 64",
            "layers.stem[1].ms: must be above 0 and at most 1000000, got -1",
        ],
    ),
    "not a number": (
        lambda data: data["layers"]["head"][0].update(ms=float("nan")),
        ["layers.head[0].ms: must be above 0 and at most 1000000, got nan"],
    ),
    "a key misspelt": (
        lambda data: data["layers"]["head"][0].update(act_bit=4),
        [
            "layers.head[0].act_bit: unknown key, did you mean 'act_bits'?, choose from in_channels, out_channels, weight_bits, "
            "act_bits, ms"
        ],
    ),
    "the same twice": (
        lambda data: data["layers"]["head"].append(data["layers"]["head"][0]),
        ["layers.head[4]: measures the same as [0]; keep one of them"],
    ),
    "a hole in the grid": (
        lambda data: _without(data, "grouped", 1),
        ["layers.grouped: every in_channels must be measured with every out_channels, not measured are 2->6"],
    ),
    "never measured whole": (
        lambda data: data["layers"].update(head=[{"in_channels": 64, "out_channels": 5, "ms": 1.0, "act_bits": 8}]),
        ["layers.head: is measured up to 64->5 channels, the model's layer has 128->5; measure it whole too (at act_bits 8)"],
    ),
    "depthwise with other channels on the other side": (
        lambda data: data["layers"]["depthwise"][0].update(in_channels=4),
        ["layers.depthwise[0].out_channels: must be in_channels, which is 4, as the convolution is depthwise, got 2"],
    ),
    "another format": (
        lambda data: data.update(format=2),
        ["format: must be 1, got 2; `pqsearch latency SPEC --out FILE` measures a table"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_table_is_said_line_by_line(name: str, tmp_path: Path) -> None:
    change, says = WRONG[name]
    data = file_of(tangled())
    change(data)
    with pytest.raises(UserError) as caught:
        _read(tmp_path, tangled(), data)
    assert list(caught.value.problems) == [f"{tmp_path / 'latency.json'}: {line}" for line in says]


@pytest.mark.parametrize("text", ["[1, 2]", '"text"', "{", "\xff"])
def test_what_is_no_table_at_all_is_said_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(
        UserError, match=r"latency.json: .*`pqsearch latency SPEC --out FILE` measures a table"
    ) as caught:
        read_latency(path, chain())
    assert len(caught.value.problems) == 1


def test_a_table_for_a_model_with_other_layers_names_each_of_them(tmp_path: Path) -> None:
    info = chain()
    renamed = replace(info, layers=tuple(replace(layer, name=f"net.{layer.name}") for layer in info.layers))
    with pytest.raises(UserError) as caught:
        _read(tmp_path, info, file_of(renamed))
    assert len(caught.value.problems) == 2 * len(info.layers)
