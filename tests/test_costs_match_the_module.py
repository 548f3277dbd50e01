"""The two halves of the house agree: analytic costs are what is measured on the module after surgery, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.space import Space
from tests.trainers.nets import NETS, make
from trainers.compress import compress
from trainers.layers import trace
from trainers.measure import measure

BITS = [1, 2, 3, 5, 8, 32]


@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
@pytest.mark.parametrize("name", NETS)
def test_analytic_costs_equal_those_measured_after_surgery(name: str, per_channel: bool) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    space = Space(
        traced.info, prune_rate=[0.0, 0.25, 0.5, 0.7], weight_bits=BITS, act_bits=BITS, per_channel_steps=per_channel
    )
    float_costs = measure(model, shape)
    rng = np.random.default_rng(0)
    for _ in range(4):
        plan = space.decode(tuple(int(rng.integers(levels)) for levels in space.levels))
        options = {"per_channel": per_channel}
        found = measure(compress(model, plan, traced=traced, quantizer_options=options), shape)
        costs = space.costs_of(plan)
        for key in ("weight_bits", "act_bits", "size_bytes"):
            assert costs[key] == found[key], key
        for key, ratio in (("flops", "macs"), ("params", "params"), ("bitops", "bitops")):
            assert costs[key] == pytest.approx(found[ratio] / float_costs[ratio], rel=1e-12), key


@pytest.mark.parametrize("name", ["digits_net", "concat_flatten", "grouped"])
def test_costs_of_genes_whose_layers_are_tied_are_those_measured_on_their_plans(name: str) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    names = [layer.name for layer in traced.info.layers]
    costs = ("weight_bits", "act_bits", "size_bytes")
    space = Space(
        traced.info,
        prune_rate=[0.0, 0.5],
        weight_bits=BITS,
        act_bits=BITS,
        tied_layers=[names[1:3], names[3:]],
        tied_bits=True,
        budgets=dict.fromkeys(costs, 1e9),
    )
    rng = np.random.default_rng(2)
    for _ in range(3):
        genes = rng.integers(0, space.levels)
        plan = space.decode(tuple(map(int, genes)))
        found = measure(compress(model, plan, traced=traced), shape)
        assert space.costs(genes[None])[0].tolist() == [found[name] for name in costs]
