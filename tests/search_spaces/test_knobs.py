from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pqsearch.errors import UserError
from pqsearch.plan import GroupInfo, channels_kept
from search_spaces.knobs import Knob, knobs, realised
from tests.search_spaces.infos import tangled

RATES = (0.0, 0.25, 0.5, 0.75)


def _group(channels: int, unit: int = 1) -> GroupInfo:
    return GroupInfo("conv", channels, unit, ("conv",), True)


def _kept(channels: int, rates: tuple[float, ...], unit: int = 1, multiple: int = 1) -> list[int]:
    return [channels_kept(channels, rate) for rate in realised(_group(channels, unit), rates, multiple)]


def _table(
    pin: dict[str, dict[str, float]] | None = None, layers: dict[str, dict[str, list[float]]] | None = None
) -> list[Knob]:
    return knobs(tangled(), RATES, (8, 2, 4, 2), (4,), 1, pin or {}, layers or {})


def _knob(table: list[Knob], kind: str, name: str) -> Knob:
    return next(knob for knob in table if (knob.kind, knob.name) == (kind, name))


def test_rates_become_whole_channels_most_pruned_first() -> None:
    assert _kept(16, RATES) == [4, 8, 12, 16]


def test_rates_that_give_the_same_channels_are_one_level() -> None:
    assert _kept(4, (0.0, 0.2, 0.25, 0.3, 0.5)) == [2, 3, 4]


def test_channels_kept_are_multiples_where_the_layer_allows() -> None:
    assert _kept(32, (0.0, 0.3, 0.6, 0.9), multiple=8) == [8, 16, 24, 32]


def test_a_width_that_is_no_multiple_may_stay_untouched() -> None:
    assert _kept(20, (0.0, 0.25, 0.9), multiple=8) == [8, 16, 20]


def test_groups_of_convolutions_and_the_multiple_hold_together() -> None:
    assert _kept(48, (0.0, 0.4, 0.8), unit=6, multiple=4) == [12, 24, 48]


def test_at_least_one_unit_of_channels_stays() -> None:
    assert _kept(8, (0.99,), unit=4) == [4]
    assert _kept(8, (0.99,)) == [1]


def test_zero_is_a_level_only_when_it_is_listed_or_nearest() -> None:
    assert _kept(16, (0.25, 0.5)) == [8, 12]
    assert _kept(16, (0.25,), multiple=16) == [16]


@hypothesis_settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 9),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6),
)
def test_realised_rates_are_exact_and_ascend_in_channels(
    units: int, unit: int, multiple: int, rates: list[float]
) -> None:
    group = _group(units * unit, unit)
    found = realised(group, rates, multiple)
    kept = [channels_kept(group.channels, rate) for rate in found]
    assert kept == sorted(set(kept)) and 1 <= len(kept) <= len(rates)
    for rate, number in zip(found, kept, strict=True):
        assert rate == (group.channels - number) / group.channels
        assert number >= unit and number % unit == 0
        assert number % multiple == 0 or number == group.channels


def test_a_group_that_cannot_be_pruned_has_no_knob() -> None:
    assert [knob.name for knob in _table() if knob.kind == "prune_rate"] == ["stem", "grouped", "side"]


def test_bits_ascend_and_repeated_ones_count_once() -> None:
    assert _knob(_table(), "weight_bits", "stem").values == (2, 4, 8)
    assert _knob(_table(), "act_bits", "stem").values == (4,)


def test_a_pin_holds_only_the_knobs_it_names() -> None:
    table = _table({"grouped": {"weight_bits": 6}})
    assert _knob(table, "weight_bits", "grouped").values == (6,)
    assert len(_knob(table, "prune_rate", "grouped").values) > 1
    assert _knob(table, "weight_bits", "stem").values == (2, 4, 8)


def test_a_pinned_rate_holds_the_group_of_any_of_its_layers() -> None:
    assert _knob(_table({"depthwise": {"prune_rate": 0}}), "prune_rate", "stem").values == (0.0,)
    assert _knob(_table({"grouped": {"prune_rate": 0.3}}), "prune_rate", "grouped").values == (2 / 6,)


def test_pinning_a_layer_that_cannot_be_pruned_to_zero_is_fine() -> None:
    assert _table({"head": {"prune_rate": 0, "weight_bits": 8}})


def test_wrong_pins_are_all_reported_with_the_way_out() -> None:
    pins = {
        "gruoped": {"weight_bits": 8.0},
        "head": {"prune_rate": 0.5},
        "stem": {"prune_rate": 0.5},
        "depthwise": {"prune_rate": 0.0},
    }
    with pytest.raises(UserError) as caught:
        _table(pins)
    misspelt, fixed, shared = caught.value.problems
    assert misspelt.startswith("space.pin.gruoped: the model has no such layer, did you mean 'grouped'?")
    assert fixed.startswith("space.pin.head.prune_rate: cannot be pruned (outputs of the network), got 0.5")
    assert shared.startswith("space.pin.depthwise.prune_rate: must be 0.5 as of 'stem'")


def test_layers_that_match_a_pattern_have_levels_of_their_own_and_the_last_pattern_counts() -> None:
    table = _table(layers={"s*": {"weight_bits": [3, 5]}, "side": {"weight_bits": [6], "act_bits": [8, 2]}})
    assert _knob(table, "weight_bits", "stem").values == (3, 5)
    assert _knob(table, "weight_bits", "side").values == (6,)
    assert _knob(table, "act_bits", "side").values == (2, 8)
    assert _knob(table, "weight_bits", "head").values == (2, 4, 8) and _knob(table, "act_bits", "stem").values == (4,)


def test_a_group_takes_the_rates_of_whichever_of_its_layers_matches() -> None:
    table = _table(layers={"depth*": {"prune_rate": [0.0, 0.5]}})
    assert _knob(table, "prune_rate", "stem").values == (0.5, 0.0)
    assert _knob(table, "prune_rate", "grouped").values == realised(_group(6, 2), RATES, 1)


def test_a_pin_counts_before_every_pattern() -> None:
    table = _table(pin={"side": {"weight_bits": 8}}, layers={"*": {"weight_bits": [2, 3]}})
    assert _knob(table, "weight_bits", "side").values == (8,)
    assert _knob(table, "weight_bits", "stem").values == (2, 3)


def test_a_pattern_that_matches_nothing_is_named_with_the_nearest_layer() -> None:
    with pytest.raises(UserError, match=r"^space.layers.steam: matches no layer of the model, did you mean 'stem'\?"):
        _table(layers={"steam": {"weight_bits": [2]}})
