"""Costs measured on a real module by running it, the witness of the analytic costs in `search_spaces/`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pqsearch.plan import FLOAT_BITS
from trainers.coupling import LAYERS, NORMS
from trainers.quantized import quantizers, step_parameters

FLOAT_BYTES = 4


@dataclass
class LayerCosts:
    """One convolution or linear layer, for one image. `inputs` and `outputs` are elements read and written, over all its uses.

    `sparse_macs` are those with weights that no mask zeroes, of which there are `nonzero`; `steps` are the quantisers'.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    weights: int
    nonzero: int
    bias: int
    steps: int
    weight_bits: int
    act_bits: int
    macs: int = 0
    sparse_macs: int = 0
    inputs: int = 0
    outputs: int = 0

    @property
    def params(self) -> int:
        """Weights and biases; steps are not counted."""
        return self.weights + self.bias

    @property
    def weight_bytes(self) -> int:
        """Weights packed at their bits."""
        return math.ceil(self.weights * self.weight_bits / 8)

    @property
    def size_bytes(self) -> int:
        """Packed weights, steps and biases."""
        return self.weight_bytes + FLOAT_BYTES * (self.steps + self.bias)

    @property
    def bitops(self) -> int:
        """MACs x weight bits x activation bits."""
        return self.macs * self.weight_bits * self.act_bits

    @property
    def intensity(self) -> float:
        """Multiply-accumulates for each byte of weights and inputs that is read, each once, packed at their bits."""
        return self.macs / (self.weights * self.weight_bits / 8 + self.inputs * self.act_bits / 8)


def measure(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, float]:
    """Costs of `model` for one image of `input_shape`.

    - macs: multiply-accumulates of convolution and linear layers
    - params: parameters without quantiser steps
    - weight_bits, act_bits: means over the weights and over the input elements of convolution and linear layers
    - nonzero_params, sparse_macs: params and macs without the weights that masks zero
    - bitops: sum of macs x weight bits x activation bits
    - size_bytes: weights packed at their bits, steps, biases, batch norm (statistics included) and all other parameters
    """
    return totals(model, measure_layers(model, input_shape))


def totals(model: nn.Module, rows: Sequence[LayerCosts]) -> dict[str, float]:
    """What `measure` gives, from the costs of the model's layers."""
    inside = {id(parameter) for parameter in step_parameters(model)}
    params = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in inside)
    steps = sum(quantizer.step.numel() for _, quantizer in quantizers(model))
    norms = [module for module in model.modules() if isinstance(module, NORMS) and module.running_mean is not None]
    statistics = 2 * sum(norm.num_features for norm in norms)
    total_weights = sum(row.weights for row in rows)
    elements = sum(row.inputs for row in rows)
    others = params - total_weights
    return {
        "macs": sum(row.macs for row in rows),
        "params": params,
        "nonzero_params": others + sum(row.nonzero for row in rows),
        "sparse_macs": sum(row.sparse_macs for row in rows),
        "weight_bits": sum(row.weights * row.weight_bits for row in rows) / total_weights,
        "act_bits": sum(row.inputs * row.act_bits for row in rows) / elements,
        "bitops": sum(row.bitops for row in rows),
        "size_bytes": sum(row.weight_bytes for row in rows) + FLOAT_BYTES * (steps + others + statistics),
    }


def measure_layers(model: nn.Module, input_shape: tuple[int, ...]) -> list[LayerCosts]:
    """Every convolution and linear layer that a forward pass on an image of `input_shape` uses, in the order of their first use."""
    rows: dict[int, LayerCosts] = {}
    handles = []

    def note(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        row = rows.get(id(layer))
        if row is None:
            row = rows[id(layer)] = _row(names[id(layer)], layer)
        # Every output element is a dot product with one filter.
        row.macs += output.numel() * layer.weight[0].numel()
        row.sparse_macs += output.numel() // len(layer.weight) * row.nonzero
        row.inputs += inputs[0].numel()
        row.outputs += output.numel()

    names = {id(module): name for name, module in model.named_modules() if isinstance(module, LAYERS)}
    for module in model.modules():
        if isinstance(module, LAYERS):
            handles.append(module.register_forward_hook(note))
    mode = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            model(torch.zeros(1, *input_shape, device=device))
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()
    return list(rows.values())


def _row(name: str, layer: Any) -> LayerCosts:
    own = [getattr(layer, which, None) for which in ("weight_quantizer", "act_quantizer")]
    weight_bits, act_bits = (FLOAT_BITS if quantizer is None else quantizer.bits for quantizer in own)
    conv = isinstance(layer, nn.Conv2d)
    return LayerCosts(
        name=name,
        kind="conv" if conv else "linear",
        in_channels=layer.in_channels if conv else layer.in_features,
        out_channels=layer.out_channels if conv else layer.out_features,
        weights=layer.weight.numel(),
        nonzero=_nonzero(layer),
        bias=0 if layer.bias is None else layer.bias.numel(),
        steps=sum(quantizer.step.numel() for quantizer in own if quantizer is not None),
        weight_bits=weight_bits,
        act_bits=act_bits,
    )


def _nonzero(layer: nn.Module) -> int:
    mask = getattr(layer, "weight_mask", None)
    return int(layer.weight.numel() if mask is None else mask.sum())  # type: ignore[operator]
