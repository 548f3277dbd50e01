"""Costs measured on a real module by running it, the witness of the analytic costs in `search_spaces/`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pqsearch.plan import FLOAT_BITS
from trainers.coupling import LAYERS, NORMS
from trainers.quantized import quantizers, step_parameters

FLOAT_BYTES = 4


def measure(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, float]:
    """Costs of `model` for one image of `input_shape`.

    - macs: multiply-accumulates of convolution and linear layers
    - params: parameters without quantiser steps
    - weight_bits, act_bits: means over the weights and over the input elements of convolution and linear layers
    - nonzero_params, sparse_macs: params and macs without the weights that masks zero
    - bitops: sum of macs x weight bits x activation bits
    - size_bytes: weights packed at their bits, steps, biases, batch norm (statistics included) and all other parameters
    """
    rows = _layers(model, input_shape)
    steps = [quantizer.step for _, quantizer in quantizers(model)]
    inside = {id(parameter) for parameter in step_parameters(model)}
    params = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    weights = {id(row["layer"].weight): row for row in rows}
    packed = sum(math.ceil(row["weights"] * row["weight_bits"] / 8) for row in weights.values())
    others = sum(parameter.numel() for parameter in params if id(parameter) not in weights)
    norms = [module for module in model.modules() if isinstance(module, NORMS) and module.running_mean is not None]
    statistics = 2 * sum(norm.num_features for norm in norms)
    total_weights = sum(row["weights"] for row in rows)
    elements = sum(row["inputs"] for row in rows)
    return {
        "macs": sum(row["macs"] for row in rows),
        "params": sum(parameter.numel() for parameter in params),
        "nonzero_params": others + sum(row["nonzero"] for row in weights.values()),
        "sparse_macs": sum(row["sparse_macs"] for row in rows),
        "weight_bits": sum(row["weights"] * row["weight_bits"] for row in rows) / total_weights,
        "act_bits": sum(row["inputs"] * row["act_bits"] for row in rows) / elements,
        "bitops": sum(row["macs"] * row["weight_bits"] * row["act_bits"] for row in rows),
        "size_bytes": packed + FLOAT_BYTES * (sum(step.numel() for step in steps) + others + statistics),
    }


def _layers(model: nn.Module, input_shape: tuple[int, ...]) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    handles = []

    def note(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        row = rows.setdefault(
            id(layer),
            {
                "layer": layer,
                "weights": layer.weight.numel(),
                "nonzero": _nonzero(layer),
                "weight_bits": _bits(layer, "weight_quantizer"),
                "act_bits": _bits(layer, "act_quantizer"),
                "macs": 0,
                "sparse_macs": 0,
                "inputs": 0,
            },
        )
        # Every output element is a dot product with one filter.
        row["macs"] += output.numel() * layer.weight[0].numel()
        row["sparse_macs"] += output.numel() // len(layer.weight) * row["nonzero"]
        row["inputs"] += inputs[0].numel()

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


def _nonzero(layer: nn.Module) -> int:
    mask = getattr(layer, "weight_mask", None)
    return int(layer.weight.numel() if mask is None else mask.sum())  # type: ignore[operator]


def _bits(layer: nn.Module, which: str) -> int:
    quantizer = getattr(layer, which, None)
    return FLOAT_BITS if quantizer is None else quantizer.bits
