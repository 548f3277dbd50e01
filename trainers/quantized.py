"""Convolution and linear layers that know the grids of their weights and inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from pqsearch import rooms
from pqsearch.plan import FLOAT_BITS, LayerPlan


class QuantConv2d(nn.Conv2d):
    """A convolution of quantised weights and inputs; `None` for a quantiser is float."""

    weight_quantizer: nn.Module | None
    act_quantizer: nn.Module | None

    def forward(self, input: Tensor) -> Tensor:
        x, weight = _quantized(self, input)
        return self._conv_forward(x, weight, self.bias)


class QuantLinear(nn.Linear):
    """A linear layer of quantised weights and inputs; `None` for a quantiser is float."""

    weight_quantizer: nn.Module | None
    act_quantizer: nn.Module | None

    def forward(self, input: Tensor) -> Tensor:
        x, weight = _quantized(self, input)
        return functional.linear(x, weight, self.bias)


def _quantized(layer: QuantConv2d | QuantLinear, x: Tensor) -> tuple[Tensor, Tensor]:
    x = layer.act_quantizer(x) if layer.act_quantizer is not None else x
    weight = layer.weight_quantizer(layer.weight) if layer.weight_quantizer is not None else layer.weight
    return x, weight


def quantize(model: nn.Module, name: str, bits: LayerPlan, quantizer: str, options: Mapping[str, Any]) -> None:
    """Turn the layer `name` of `model` into a quantised one, in place; at 32 bits both ways it stays as it is."""
    if bits.weight_bits == bits.act_bits == FLOAT_BITS:
        return
    layer = model.get_submodule(name)
    # The same module with the same parameters under the same names, only with another forward.
    layer.__class__ = QuantConv2d if isinstance(layer, nn.Conv2d) else QuantLinear
    make = rooms.load("quantizers", quantizer)
    outputs, inputs = layer.weight.shape[0], layer.weight.shape[1]
    assert isinstance(outputs, int) and isinstance(inputs, int)
    layer.weight_quantizer = None if bits.weight_bits == FLOAT_BITS else make(bits.weight_bits, "weight", outputs, **options)
    layer.act_quantizer = None if bits.act_bits == FLOAT_BITS else make(bits.act_bits, "act", inputs, **options)


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, QuantConv2d | QuantLinear]]:
    """Quantised layers by name, in module order."""
    for name, module in model.named_modules():
        if isinstance(module, (QuantConv2d, QuantLinear)):
            yield name, module


def step_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Step sizes of all quantisers: they get no weight decay."""
    found = []
    for _, layer in quantized_layers(model):
        for quantizer in (layer.weight_quantizer, layer.act_quantizer):
            if quantizer is not None:
                found += list(quantizer.parameters())
    return found
