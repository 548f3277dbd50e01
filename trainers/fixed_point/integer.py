"""A network of integer layers: the reference for hardware that has no float.

Layers multiply and add int64 integers; between them goes `trainers.fixed_point.values`. Nothing here reads a float but the image.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pqsearch.errors import UserError
from trainers.coupling import LAYERS, NORMS
from trainers.fixed_point.layers import FixedLayer, convolve, fixed_layers, grids, integers, weight_integers
from trainers.fixed_point.values import MOST_BITS, Fixed, Image, NoIntegerForm, Tape, given, requantized, to_float
from trainers.merging import replace
from trainers.quantizers.ristretto import Quantizer

#: Sums of products of two 8-bit numbers are held in so many bits; wider operands need int64.
ACCUMULATOR_BITS, OPERAND_BITS = 32, 8


@dataclass(frozen=True)
class Format:
    """A grid: integers of `bits`, signed or not, of which `fraction_length` are behind the point."""

    bits: int
    signed: bool
    fraction_length: int

    @property
    def low(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @staticmethod
    def of(grid: Quantizer) -> Format:
        return Format(grid.bits, grid.signed, grid.fraction_length)


@dataclass(frozen=True)
class IntegerLayer:
    """All of a layer. `accumulator_bits` hold any sum that inputs of the format can make, sign included."""

    input: Format
    weight: Format
    bias: Format | None
    output: Format | None
    weights: Tensor
    biases: Tensor | None
    accumulator_bits: int

    @property
    def sum_fraction(self) -> int:
        """Fraction length of the sums."""
        return self.input.fraction_length + self.weight.fraction_length

    @property
    def aligned(self) -> Tensor | None:
        """The bias as the sums have it."""
        if self.bias is None or self.biases is None:
            return None
        return self.biases << (self.sum_fraction - self.bias.fraction_length)


class IntegerModule(nn.Module):
    """What stands where a convolution or linear layer was."""

    def __init__(self, name: str, shape: nn.Module, layer: IntegerLayer) -> None:
        super().__init__()
        self.name, self.layer = name, layer
        self.shape = shape  # strides and the like
        self.register_buffer("weights", layer.weights)
        self.register_buffer("aligned", layer.aligned)

    def forward(self, x: Tensor) -> Tensor:
        layer, read = self.layer, given(x, self.name)
        try:
            with torch._C.DisableTorchFunctionSubclass():
                inputs = requantized(x, *layer_format(layer.input))
                sums = convolve(self.shape, inputs, cast("Tensor", self.weights), cast("Tensor | None", self.aligned))
                found = Fixed.of(sums, layer.sum_fraction)
                if layer.output is not None:
                    found = Fixed.of(requantized(found, *layer_format(layer.output)), layer.output.fraction_length)
        except NoIntegerForm as error:
            raise NoIntegerForm(f"{self.name}: {error}") from error
        if read.tape is not None:
            read.tape.add("layer", [read.id], found, layer=self.name)
        return found


def layer_format(grid: Format) -> tuple[int, int, int]:
    """What `requantized` wants."""
    return grid.fraction_length, grid.low, grid.high


class IntegerNetwork:
    """A fixed-point network in integers. Call it with normalised images (batch, channels, height, width), float; logits are
    float64.
    """

    def __init__(self, skeleton: nn.Module, layers: Mapping[str, IntegerLayer]) -> None:
        self.layers = dict(layers)
        self._model = _swapped(skeleton, layers)

    def __call__(self, images: Tensor, tape: Tape | None = None) -> Tensor:
        """Raises `NoIntegerForm` where the forward pass does something that integers cannot."""
        with torch.no_grad():
            return to_float(self._model(Image.of(images, tape)))

    def shape_of(self, name: str) -> dict[str, Any]:
        """Kind, strides and the like of a layer."""
        found = cast("IntegerModule", self._model.get_submodule(name)).shape
        if not isinstance(found, nn.Conv2d):
            return {"kind": "linear"}
        padding = found.padding if isinstance(found.padding, str) else list(found.padding)
        sizes = {"stride": list(found.stride), "padding": padding, "padding_mode": found.padding_mode}
        return {"kind": "convolution", **sizes, "dilation": list(found.dilation), "groups": found.groups}

    def operations(self, input_shape: tuple[int, ...]) -> list[dict[str, Any]]:
        """What is computed, in order: each operation with those whose results it reads, by number."""
        tape = Tape()
        self(torch.zeros(1, *input_shape), tape)
        return tape.rows


def integer_layers(model: nn.Module) -> dict[str, IntegerLayer]:
    """The layers of a calibrated fixed-point network by name. Raises `UserError` where it has float layers or batch norm, and where
    sums of 8-bit operands can exceed 32 bits, or others what float64 can hold.
    """
    problems, fixed = [], fixed_layers(model)
    for name, part in model.named_modules():
        if isinstance(part, NORMS):
            problems.append(
                f"fixed_point: the batch norm {name} is no part of a layer, and integers have none; merge it"
            )
        elif isinstance(part, LAYERS) and name not in fixed:
            problems.append(f"fixed_point: the layer {name} is float; give it bits")
    if problems:
        raise UserError(problems)
    # What calibration has not come by is no part of the forward pass.
    found = {name: _integers(layer) for name, layer in fixed.items() if grids(layer)[0].ready}
    for name, one in found.items():
        narrow = max(one.input.bits, one.weight.bits) <= OPERAND_BITS
        most = ACCUMULATOR_BITS if narrow else MOST_BITS + 1
        if one.accumulator_bits > most:
            problems.append(
                f"fixed_point: sums of the layer {name} need {one.accumulator_bits} bits, {one.accumulator_bits - most} more than "
                f"{most}; give it fewer bits"
            )
    if problems:
        raise UserError(problems)
    return found


def _integers(layer: FixedLayer) -> IntegerLayer:
    act, weight = grids(layer)
    weights, biases, bias = weight_integers(layer), None, None
    finest = act.fraction_length + weight.fraction_length
    # Bounds: every input as far out as its format goes, with the sign that adds up.
    bound = weights.abs().flatten(1).sum(1) * max(-act.low, act.high)
    if layer.bias is not None and layer.bias_quantizer is not None:
        bias, biases = Format.of(layer.bias_quantizer), integers(layer.bias.detach(), layer.bias_quantizer)
        bound = bound + (biases.abs() << (finest - bias.fraction_length))
    output = None if layer.output_quantizer is None else Format.of(layer.output_quantizer)
    bits = int(bound.max()).bit_length() + 1
    return IntegerLayer(Format.of(act), Format.of(weight), bias, output, weights, biases, bits)


def _swapped(skeleton: nn.Module, layers: Mapping[str, IntegerLayer]) -> nn.Module:
    model = copy.deepcopy(skeleton).eval()
    for name, layer in layers.items():
        shape = model.get_submodule(name)
        for parameter in ("weight", "bias"):
            setattr(shape, parameter, None)
        replace(model, shape, IntegerModule(name, shape, layer))
    return model
