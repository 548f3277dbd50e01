from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from pqsearch.plan import FIXED, LayerPlan, ModelInfo, Plan, channels_kept
from tests.trainers.nets import NETS, make, random_plan
from tests.trainers.witnesses import thop_macs
from trainers.compress import compress
from trainers.layers import trace
from trainers.measure import measure


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NETS)
def test_thop_counts_the_same_macs_after_surgery(name: str, seed: int) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    smaller = compress(model, Plan(random_plan(traced.info, seed).groups), traced=traced)
    assert measure(smaller, shape)["macs"] == thop_macs(smaller, shape)


def _expected(info: ModelInfo, plan: Plan) -> dict[str, float]:
    """The same costs by hand from the layers table, one layer after the other."""
    kept = [channels_kept(group.channels, plan.prune_rate(group.name)) for group in info.groups]

    def width(sources: Any) -> int:
        return sum(s.repeat * (s.channels if s.group == FIXED else kept[s.group]) for s in sources)

    macs = params = weights = weight_bits = elements = act_bits = bitops = size = 0
    for layer in info.layers:
        bits = plan.layer(layer.name)
        outputs = layer.out_channels if layer.output == FIXED else kept[layer.output]
        inputs = width(layer.inputs)
        per_filter = layer.kernel_size * (1 if layer.groups == layer.in_channels > 1 else inputs // layer.groups)
        count = outputs * per_filter
        macs += count * layer.out_size
        bitops += count * layer.out_size * bits.weight_bits * bits.act_bits
        weights += count
        weight_bits += count * bits.weight_bits
        elements += inputs * layer.in_size
        act_bits += inputs * layer.in_size * bits.act_bits
        params += count + outputs * layer.bias
        steps = (outputs if bits.weight_bits < 32 else 0) + (bits.act_bits < 32)
        size += math.ceil(count * bits.weight_bits / 8) + 4 * (outputs * layer.bias + steps)
    for norm in info.norms:
        params += width(norm.inputs) * norm.params_per_channel
        size += 4 * width(norm.inputs) * (norm.params_per_channel + norm.buffers_per_channel)
    return {
        "macs": macs,
        "params": params + info.other_params,
        # Dense plans: nothing is zeroed.
        "nonzero_params": params + info.other_params,
        "sparse_macs": macs,
        "weight_bits": weight_bits / weights,
        "act_bits": act_bits / elements,
        "bitops": bitops,
        "size_bytes": size + 4 * info.other_params,
    }


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NETS)
def test_the_module_costs_exactly_what_the_layers_table_says(name: str, seed: int) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    plan = random_plan(traced.info, seed)
    compressed = compress(model, plan, traced=traced)
    assert measure(compressed, shape) == pytest.approx(_expected(traced.info, plan), rel=1e-12)


def test_a_convolution_costs_what_arithmetic_says() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    compressed = compress(model, Plan(layers={"0": LayerPlan(3, 8)}), input_shape=(3, 5, 5))
    costs = measure(compressed, (3, 5, 5))
    assert costs["macs"] == 25 * 4 * 27 + 8
    assert costs["params"] == 108 + 4 + 8 + 2
    assert costs["weight_bits"] == pytest.approx((108 * 3 + 8 * 32) / 116)
    assert costs["act_bits"] == pytest.approx((75 * 8 + 4 * 32) / 79)
    assert costs["bitops"] == 2700 * 24 + 8 * 1024
    # 108 weights of 3 bits are 40.5 bytes; 4 + 1 steps, 4 biases; 8 + 2 floats.
    assert costs["size_bytes"] == 41 + 4 * (5 + 4 + 10)


def test_measuring_leaves_the_mode_and_the_statistics_alone() -> None:
    model, shape = make("digits_net")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measure(model.train(), shape)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
