"""Convolution and linear layers that know the grids of their weights and inputs, and which weights are zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch import rooms
from pqsearch.plan import FLOAT_BITS, LayerPlan
from pqsearch.sparsity import Pattern
from trainers.sparse import mask_of


class Grid(Protocol):
    """What a file in `trainers/quantizers/` provides: a module that knows the grid it rounds to."""

    bits: int
    axis: int | None  # dimension with a step of its own for each index, None for one step

    @property
    def signed(self) -> bool: ...

    @property
    def step(self) -> Tensor: ...

    @property
    def ready(self) -> bool: ...

    def calibrate(self, x: Tensor, steps: Callable[[Tensor, int, int], Tensor] = ...) -> None: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def __call__(self, x: Tensor) -> Tensor: ...


class QuantConv2d(nn.Conv2d):
    """A convolution of quantised weights and inputs; `None` for a quantiser is float, `None` for the mask is dense."""

    weight_quantizer: Grid | None
    act_quantizer: Grid | None
    weight_mask: Tensor | None

    def forward(self, input: Tensor) -> Tensor:
        x, weight = on_grids(self, input)
        return self._conv_forward(x, weight, self.bias)


class QuantLinear(nn.Linear):
    """A linear layer of quantised weights and inputs; `None` for a quantiser is float, `None` for the mask is dense."""

    weight_quantizer: Grid | None
    act_quantizer: Grid | None
    weight_mask: Tensor | None

    def forward(self, input: Tensor) -> Tensor:
        x, weight = on_grids(self, input)
        return functional.linear(x, weight, self.bias)


def on_grids(layer: QuantConv2d | QuantLinear, x: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's inputs and weights, quantised where they have a grid, and masked."""
    x = layer.act_quantizer(x) if layer.act_quantizer is not None else x
    weight = masked(layer, layer.weight)
    # A grid may have no zero, as that of one bit.
    return x, weight if layer.weight_quantizer is None else masked(layer, layer.weight_quantizer(weight))


def masked(layer: QuantConv2d | QuantLinear, weight: Tensor) -> Tensor:
    """A layer's weights with zeros where its mask has them."""
    return weight if layer.weight_mask is None else weight * layer.weight_mask


def quantize(
    model: nn.Module,
    name: str,
    bits: LayerPlan,
    quantizer: str,
    options: Mapping[str, Any],
    pattern: Pattern | None = None,
) -> None:
    """Turn the layer `name` of `model` into a quantised and sparse one, in place; dense at 32 bits it stays as it is.

    The mask is of the weights that the layer has now, and a part of the state dict as `weight_mask`.
    """
    if bits.weight_bits == bits.act_bits == FLOAT_BITS and not bits.sparsity:
        return
    module = model.get_submodule(name)
    # The same module with the same parameters under the same names, only with another forward.
    module.__class__ = QuantConv2d if isinstance(module, nn.Conv2d) else QuantLinear
    layer = cast("QuantConv2d | QuantLinear", module)
    layer.weight_quantizer = layer.act_quantizer = None
    if bits.weight_bits != FLOAT_BITS:
        layer.weight_quantizer = grid(layer, "weight", bits.weight_bits, quantizer, options)
    if bits.act_bits != FLOAT_BITS:
        layer.act_quantizer = grid(layer, "act", bits.act_bits, quantizer, options)
    layer.register_buffer("weight_mask", None)
    if bits.sparsity:
        layer.weight_mask = mask_of(layer.weight, bits.sparsity, pattern or Pattern())
        with torch.no_grad():
            # Zeros have no gradient and nothing to decay: they are zeros in the state dict too.
            layer.weight.copy_(masked(layer, layer.weight))


def grid(
    layer: nn.Conv2d | nn.Linear, role: Literal["weight", "act"], bits: int, quantizer: str, options: Mapping[str, Any]
) -> Grid:
    """A quantiser for the weights or the inputs of a layer, not calibrated yet."""
    outputs, inputs = layer.weight.shape[0], layer.weight.shape[1] * getattr(layer, "groups", 1)
    channels, axis = (outputs, 0) if role == "weight" else (inputs, 1 if isinstance(layer, nn.Conv2d) else -1)
    made: Grid = rooms.load("quantizers", quantizer)(bits, role, channels, axis, **options)
    return made


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, QuantConv2d | QuantLinear]]:
    """Quantised layers by name, in module order."""
    for name, module in model.named_modules():
        if isinstance(module, (QuantConv2d, QuantLinear)):
            yield name, module


def quantizers(model: nn.Module) -> Iterator[tuple[str, Grid]]:
    """All quantisers by name (`layer3.0.conv1.weight_quantizer`), in module order."""
    for name, layer in quantized_layers(model):
        for which, quantizer in (("weight", layer.weight_quantizer), ("act", layer.act_quantizer)):
            if quantizer is not None:
                yield f"{name}.{which}_quantizer", quantizer


def step_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Step sizes of all quantisers: they get no weight decay."""
    return [parameter for _, quantizer in quantizers(model) for parameter in quantizer.parameters()]
