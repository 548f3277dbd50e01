"""What sets one calibrator's steps apart from another's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pqsearch.plan import LayerPlan, Plan
from tests.trainers.test_segments import Again
from trainers.calibrators import entropy, mse, percentile
from trainers.calibrators._observe import MOST_SAMPLES, covering, thinned
from trainers.compress import calibrate_steps, compress
from trainers.quantized import quantizers


def _rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("low", "high"), [(-8, 7), (0, 15), (-2, 1)])
def test_min_max_clips_nothing_and_no_smaller_step_would(low: int, high: int) -> None:
    rows = _rows(5, 200) if low else _rows(5, 200).abs()
    steps = covering(rows, low, high)
    integers = rows / steps[:, None]
    assert bool((integers <= high * (1 + 1e-6)).all()) and bool((integers >= low * (1 + 1e-6)).all())
    touching = torch.isclose(integers, torch.tensor(float(high))) | torch.isclose(integers, torch.tensor(float(low)))
    assert bool((touching & (integers != 0)).any(1).all())


def test_min_max_of_values_below_zero_uses_the_longer_side_of_a_signed_grid() -> None:
    assert covering(torch.tensor([[-8.0, 0.0]]), -8, 7).tolist() == [1.0]
    assert covering(torch.tensor([[7.0, 0.0]]), -8, 7).tolist() == [1.0]


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_squared_error_is_the_least_of_all_clipping_points_in_every_row(bits: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    rows = _rows(6, 300)

    def error(step: Tensor, row: Tensor) -> float:
        return float(((row / step).round().clamp(low, high) * step - row).square().sum())

    for row, step in zip(rows, mse.steps(rows, low, high), strict=True):
        tried = [row.abs().max() / high * clip for clip in torch.linspace(0.1, 1, 37)]
        assert error(step, row) <= min(error(one, row) for one in tried) * (1 + 1e-5)


@pytest.mark.parametrize("covered", [50.0, 90.0, 99.0, 100.0])
def test_so_many_percent_of_the_values_are_not_clipped(covered: float) -> None:
    rows = _rows(4, 1000)
    steps = percentile.steps(rows, -8, 7, covered)
    within = (rows.abs() <= 7 * steps[:, None] * (1 + 1e-6)).sum(1)
    assert within.tolist() == [round(10 * covered)] * 4


def test_entropy_clips_a_far_value_and_keeps_an_even_spread() -> None:
    far = _rows(1, 4000)
    far[0, 0] = 40.0
    assert float(entropy.steps(far, -128, 127)[0]) * 127 < 10.0
    even = torch.linspace(-1, 1, 4000)[None]
    assert float(entropy.steps(even, -128, 127)[0]) * 127 > 0.95


def test_entropy_of_rows_is_that_of_each_row() -> None:
    rows = _rows(3, 500) * torch.tensor([[1.0], [0.01], [50.0]])
    together = entropy.steps(rows, -8, 7)
    alone = torch.cat([entropy.steps(row[None], -8, 7) for row in rows])
    assert torch.allclose(together, alone)


def test_of_a_long_row_values_from_everywhere_are_looked_at() -> None:
    row = torch.arange(10.0 * MOST_SAMPLES)[None]
    some = thinned(row)
    assert MOST_SAMPLES / 2 < some.shape[1] <= 2 * MOST_SAMPLES
    assert float(some[0, -1]) > 0.999 * float(row[0, -1])
    assert thinned(row[:, :100]).shape == (1, 100)
    assert thinned(row.view(2, -1)).shape == (2, 5 * MOST_SAMPLES)


def test_of_small_maps_every_place_and_every_channel_is_looked_at() -> None:
    places = torch.arange(49).expand(64, 1280, 49).reshape(1, -1)
    channels = torch.arange(1280).view(-1, 1).expand(64, 1280, 49).reshape(1, -1)
    assert (len(thinned(places).unique()), len(thinned(channels).unique())) == (49, 1280)


@pytest.mark.parametrize("name", ["minmax", "mse", "percentile", "entropy"])
def test_a_layer_used_twice_has_a_grid_for_either_use(name: str) -> None:
    torch.manual_seed(0)
    network = compress(
        Again(), Plan(layers={layer: LayerPlan(8, 8) for layer in ("first", "twice", "head")}), input_shape=(3, 8, 8)
    )
    calibrate_steps(network, torch.randn(16, 3, 8, 8), name)
    assert dict(quantizers(network))["twice.act_quantizer"].signed
