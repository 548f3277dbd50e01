"""Convolution and linear layers whose inputs, weights, bias and output are all dynamic fixed point."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.plan import LayerPlan
from trainers.quantized import QuantConv2d, QuantLinear, masked, on_grids, quantize
from trainers.quantizers import ristretto

#: The quantiser whose steps are powers of two.
QUANTIZER = "ristretto"


class FixedConv2d(QuantConv2d):
    """A convolution with grids for bias and sums, too; `None` for `output_quantizer` leaves them as wide as they come."""

    bias_quantizer: ristretto.Quantizer | None
    output_quantizer: ristretto.Quantizer | None

    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, input)


class FixedLinear(QuantLinear):
    """A linear layer with grids for bias and sums, too; `None` for `output_quantizer` leaves them as wide as they come."""

    bias_quantizer: ristretto.Quantizer | None
    output_quantizer: ristretto.Quantizer | None

    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, input)


FixedLayer = FixedConv2d | FixedLinear


def _computed(layer: FixedLayer, input: Tensor) -> Tensor:
    x, weight = on_grids(layer, input)
    bias = layer.bias if layer.bias_quantizer is None else layer.bias_quantizer(cast("Tensor", layer.bias))
    sums = convolve(layer, x, weight, bias)
    return sums if layer.output_quantizer is None else cast("Tensor", layer.output_quantizer(sums))


def convolve(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a convolution, padded as the layer says, or a linear layer computes, whatever type the numbers have."""
    if isinstance(layer, nn.Conv2d):
        return layer._conv_forward(x, weight, bias)
    return functional.linear(x, weight, bias)


def fix(
    model: nn.Module, name: str, bits: LayerPlan, bias_bits: int, output_bits: int | None, saturate: bool
) -> FixedLayer:
    """Turn the plain layer `name` of `model` into a fixed-point one, in place; nothing is rounded until it is calibrated."""
    quantize(model, name, bits, QUANTIZER, {"saturate": saturate})
    layer = cast("Any", model.get_submodule(name))
    layer.__class__ = FixedConv2d if isinstance(layer, nn.Conv2d) else FixedLinear
    layer.bias_quantizer = layer.output_quantizer = None
    if layer.bias is not None:
        layer.bias_quantizer = ristretto.Quantizer(bias_bits, "weight", 1, 0, saturate=False)
    if output_bits is not None:
        layer.output_quantizer = ristretto.Quantizer(output_bits, "act", 1, 0, saturate=saturate)
    return cast("FixedLayer", layer)


def grids(layer: FixedLayer) -> tuple[ristretto.Quantizer, ristretto.Quantizer]:
    """Those of a layer's inputs and of its weights."""
    return cast("ristretto.Quantizer", layer.act_quantizer), cast("ristretto.Quantizer", layer.weight_quantizer)


def fixed_layers(model: nn.Module) -> dict[str, FixedLayer]:
    """By name, in module order."""
    return {name: part for name, part in model.named_modules() if isinstance(part, (FixedConv2d, FixedLinear))}


@torch.no_grad()
def set_bias_grid(layer: FixedLayer) -> None:
    """As fine as the bits allow without clipping the bias, and never finer than the sums that it is added to."""
    if layer.bias_quantizer is None or layer.bias is None:
        return
    act, weight = grids(layer)
    layer.bias_quantizer.calibrate(layer.bias)
    layer.bias_quantizer.step.clamp_min_(float(act.step * weight.step))


@torch.no_grad()
def integers(values: Tensor, grid: ristretto.Quantizer) -> Tensor:
    """The integers (int64) that values are rounded to."""
    return (grid(values.double()) / grid.step.double()).round().long()


def weight_integers(layer: FixedLayer) -> Tensor:
    """Those of a layer's weights (int64, the weights' shape)."""
    _, grid = grids(layer)
    return integers(masked(layer, layer.weight.detach()), grid)
