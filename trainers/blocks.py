"""A quantised network beside its float self, block by block: what comes into each block, and what should come out.

Blocks are the segments of the network's graph (`trainers.segments`), each with the outputs of the one before it; or single layers, whose
inputs are taken from a forward pass of the whole, where the graph cannot be followed or layers are asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.passing import hooked_pass, used
from trainers.quantized import QuantConv2d, QuantLinear, quantized_layers
from trainers.segments import Segment, Told, forget, segments

#: Images that are computed at once where nothing is learned.
BATCH = 128

Layer = QuantConv2d | QuantLinear


class Block(Protocol):
    """A part of a network with one tensor in and one out. `layers` are the names of those inside."""

    @property
    def layers(self) -> Sequence[str]: ...

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Step:
    """A block of the quantised network, what the quantised ones before it give it (images, ...), and what it should make of that
    (images, ...): what it gives in float. `weights` (images, ...) say how much each value matters, None that all do alike.
    """

    block: Block
    layers: list[Layer]
    inputs: Tensor
    wanted: Tensor
    weights: Tensor | None


class Walk(Protocol):
    """All blocks in order. A step's inputs are made when it is asked for, after the blocks before it have been changed."""

    def __len__(self) -> int: ...

    def steps(self, start: int = 0) -> Iterator[Step]: ...


class Chain:
    """The segments of a graph. `whole` is told which modules are a block because they cannot be looked into, and why. Raises
    `ValueError` where the network itself cannot be followed.
    """

    def __init__(self, model: nn.Module, images: Tensor, fisher: bool, whole: Told = forget) -> None:
        self._model, self._images, self._fisher = model, images, fisher
        self._blocks = segments(model, images, whole)
        self._wanted = segments(float_copy(model), images)
        inside = {name for block in self._blocks for name in block.layers}
        outside = [name for name in _used(model, images) if name not in inside]
        if outside:
            raise ValueError(f"the layer {outside[0]} is used behind its back")

    def __len__(self) -> int:
        return len(self._blocks)

    def steps(self, start: int = 0) -> Iterator[Step]:
        inputs = before = self._images
        for place, (block, reference) in enumerate(zip(self._blocks, self._wanted, strict=True)):
            if place >= start:
                wanted = outputs(reference, before)
                weights = self._importance(wanted, self._wanted[place + 1 :]) if self._fisher else None
                yield Step(block, layers_of(self._model, block), inputs, wanted, weights)
                before = wanted
            else:
                before = outputs(reference, before)
            inputs = outputs(block, inputs)

    def _importance(self, wanted: Tensor, rest: Sequence[Segment]) -> Tensor:
        """Squared gradients of the loss by a block's outputs, their mean 1 (Li et al., BRECQ, equation 10); the labels are the float
        network's own answers.
        """
        found = []
        for part in wanted.split(BATCH):
            values = part.clone().requires_grad_(True)
            with torch.enable_grad():
                answers = values
                for block in rest:
                    answers = block(answers)
                loss = functional.cross_entropy(answers, answers.argmax(1), reduction="sum")
            found.append(torch.autograd.grad(loss, values)[0].square())
        weights = torch.cat(found)
        return weights / weights.mean().clamp_min(1e-20)


@dataclass(frozen=True)
class _Single:
    """A layer as a block."""

    name: str
    module: nn.Module

    @property
    def layers(self) -> tuple[str]:
        return (self.name,)

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x)
        return found


class Layers:
    """Every quantised layer that the forward pass uses is a block."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self._model, self._images, self._float = model, images, float_copy(model)
        self._names = _used(model, images)

    def __len__(self) -> int:
        return len(self._names)

    def steps(self, start: int = 0) -> Iterator[Step]:
        for name in self._names[start:]:
            block = _Single(name, self._model.get_submodule(name))
            inputs, _ = _seen(self._model, name, self._images)
            _, wanted = _seen(self._float, name, self._images)
            yield Step(block, layers_of(self._model, block), inputs, wanted, None)


def _used(model: nn.Module, images: Tensor) -> list[str]:
    """Quantised layers in the order in which the forward pass first uses them."""
    return list(dict.fromkeys(used(dict(quantized_layers(model)), lambda: hooked_pass(model, images[:1], []))))


class _Enough(Exception):
    """The layer that was waited for has computed."""


def _seen(model: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer reads and gives at its first use."""
    found: list[tuple[Tensor, Tensor]] = []

    def take(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((inputs[0].detach(), output.detach()))
        raise _Enough

    handle = model.get_submodule(name).register_forward_hook(take)
    try:
        with torch.no_grad():
            for part in images.split(BATCH):
                try:
                    model(part)
                except _Enough:
                    continue
    finally:
        handle.remove()
    inputs, outputs = zip(*found, strict=True)
    return torch.cat(inputs), torch.cat(outputs)


@torch.no_grad()
def outputs(block: Block, inputs: Tensor) -> Tensor:
    """What a block makes of many images."""
    return torch.cat([block(part) for part in inputs.split(BATCH)])


def layers_of(model: nn.Module, block: Block) -> list[Layer]:
    """The quantised layers in a block."""
    found = [model.get_submodule(name) for name in dict.fromkeys(block.layers)]
    return [layer for layer in found if isinstance(layer, (QuantConv2d, QuantLinear))]


def float_copy(model: nn.Module) -> nn.Module:
    """The network as it is without its quantisers."""
    found = copy.deepcopy(model).eval().requires_grad_(False)
    for _, layer in quantized_layers(found):
        one: Any = layer
        one.weight_quantizer = one.act_quantizer = None
    return found
