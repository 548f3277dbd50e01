"""Cross-layer equalisation: channels between two layers are scaled so that both have weights of like size (Nagel et al., Data-Free
Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1).

Where one layer's outputs are read by one other alone, by way of operations f with f(s x) = s f(x) for s > 0, dividing a channel's
weights and bias in the first by s and multiplying its weights in the second by s changes nothing (equations 4 to 7). Which pairs those
are is read from the gradients' graph and then tried on the network, so no list of operations has to be trusted.

ReLU6 lets no scale through: 6 stays 6. The paper makes it a ReLU, which changes what the network computes; here its ceiling is
scaled with the channel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.coupling import LAYERS
from trainers.merging import TOLERANCE, Graph, replace

Layer = nn.Conv2d | nn.Linear

#: How much larger than its outputs what a layer gives is made, for trying what follows it.
FAR = 1e3
#: Rounds over all pairs; after so many, sizes hardly change any more.
ROUNDS = 20
#: All rounds together scale no more than by this and its inverse: a channel that is nearly dead would want any.
MOST = 1e3


@dataclass(frozen=True)
class _Pair:
    """Two layers, and the ReLU6s between them, by name."""

    first: str
    second: str
    clips: tuple[str, ...]

    def layers(self, model: nn.Module) -> tuple[Layer, Layer]:
        return cast("Layer", model.get_submodule(self.first)), cast("Layer", model.get_submodule(self.second))


class ClippedReLU(nn.Module):
    """Values below zero become zero, those above the ceiling of their channel the ceiling; channels are along `axis`."""

    ceiling: Tensor

    def __init__(self, channels: int, axis: int, ceiling: float = 6.0) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("ceiling", torch.full((channels,), ceiling))

    def forward(self, x: Tensor) -> Tensor:
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return torch.minimum(functional.relu(x), self.ceiling.view(shape))


def equalize(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[nn.Module, list[tuple[str, str]]]:
    """A copy of `model`, whose batch norm is merged, with equalised weights, and the pairs of layers between which it was done.

    It gives the same outputs up to rounding; the original is untouched. Images are of `input_shape` (channels, height, width).
    """
    found = copy.deepcopy(model).eval().requires_grad_(True)
    neighbours = _neighbours(found, input_shape)
    for pair in neighbours:
        first, _ = pair.layers(found)
        for clip in pair.clips:
            own = ClippedReLU(_outputs(first), 1 if isinstance(first, nn.Conv2d) else -1)
            replace(found, found.get_submodule(clip), own.to(first.weight))
    pairs = [pair for pair in neighbours if _commutes(found, pair, input_shape)]
    least = {pair: _least(pair.layers(found)[0]) for pair in pairs}
    total = {pair: torch.ones_like(least[pair]) for pair in pairs}
    for _ in range(ROUNDS):
        for pair in pairs:
            wanted = (total[pair] * _wanted(found, pair)).maximum(least[pair]).clamp_max(MOST)
            _scale(found, pair, wanted / total[pair])
            total[pair] = wanted
    return found.requires_grad_(False), [(pair.first, pair.second) for pair in pairs]


def _neighbours(model: nn.Module, input_shape: tuple[int, ...]) -> list[_Pair]:
    """Layers whose outputs go to one other alone, with it; everything in between is read once."""
    graph = Graph(model, input_shape, also=(nn.ReLU6,))
    modules = dict(model.named_modules())
    once = {name: call for name in graph.calls if (call := graph.once(name))}
    layers = {name: call for name, call in once.items() if isinstance(modules[name], LAYERS)}
    made_by = {call.result: name for name, call in layers.items()}
    clipped_by = {call.result: name for name, call in once.items() if isinstance(modules[name], nn.ReLU6)}
    found = []
    for name, call in layers.items():
        node, clips = call.source, []
        while node is not None and graph.readers[node] == 1 and node not in made_by:
            clips += [clipped_by[node]] if node in clipped_by else []
            before = [one for one, _ in node.next_functions if one is not None]
            node = before[0] if len(before) == 1 else None
        if node in made_by and graph.readers[node] == 1:
            first, second = modules[made_by[node]], modules[name]
            if _outputs(first) == _inputs(second):
                found.append(_Pair(made_by[node], name, tuple(clips)))
    return found


def _outputs(layer: nn.Module) -> int:
    return int(cast("Layer", layer).weight.shape[0])


def _inputs(layer: nn.Module) -> int:
    return int(cast("Layer", layer).weight.shape[1]) * int(getattr(layer, "groups", 1))


def _commutes(model: nn.Module, pair: _Pair, input_shape: tuple[int, ...]) -> bool:
    """Whether scaling between two layers leaves the outputs as they are: tried in float64, with scales in both directions."""
    trial = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *input_shape, generator=generator, dtype=torch.double)
    first, _ = pair.layers(trial)
    first.register_forward_hook(_far_out)
    channels = _outputs(first)
    with torch.no_grad():
        wanted = trial(images)
        _scale(trial, pair, 2.0 ** (4 * torch.rand(channels, generator=generator, dtype=torch.double) - 2))
        found = trial(images)
    return bool(((found - wanted).abs().amax(1) <= TOLERANCE * wanted.abs().amax(1)).all())


def _far_out(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Every other image large: some operations clip what is far out and nothing else."""
    sizes = torch.where(torch.arange(len(output)) % 2 == 1, FAR, 1.0).to(output)
    return output * sizes.view(-1, *[1] * (output.ndim - 1))


def _wanted(model: nn.Module, pair: _Pair) -> Tensor:
    """Scales (channels,) that make the largest weights of both sides of each channel alike (equation 11)."""
    first, second = pair.layers(model)
    out, into = first.weight.detach().abs().flatten(1).amax(1), _by_input(second, lambda one: one.abs().amax(1))
    scales = (out / into).sqrt()
    # A channel that has no weights on one side is left as it is.
    return torch.where((out > 0) & (into > 0), scales, 1.0)


def _least(layer: Layer) -> Tensor:
    """Smallest scales (channels,). They make biases larger, and those share a grid with all that the layer gives: none gets beyond
    what its channels give for inputs up to 1.
    """
    weights = layer.weight.detach().abs().flatten(1).sum(1)
    biases = torch.zeros_like(weights) if layer.bias is None else layer.bias.detach().abs()
    return (biases / (weights + biases).max().clamp_min(torch.finfo(weights.dtype).tiny)).clamp_min(1 / MOST)


def _by_input(layer: Layer, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """A number of each input channel, from all its weights (channels, weights)."""
    weight = layer.weight.detach()
    groups = getattr(layer, "groups", 1)
    parts = weight.view(groups, len(weight) // groups, weight.shape[1], -1).transpose(1, 2)
    return measure(parts.reshape(groups * weight.shape[1], -1))


@torch.no_grad()
def _scale(model: nn.Module, pair: _Pair, scales: Tensor) -> None:
    first, second = pair.layers(model)
    first.weight.div_(scales.view(-1, *[1] * (first.weight.ndim - 1)))
    if first.bias is not None:
        first.bias.div_(scales)
    for clip in pair.clips:
        cast("ClippedReLU", model.get_submodule(clip)).ceiling.div_(scales)
    groups = getattr(second, "groups", 1)
    weight = second.weight.view(groups, len(second.weight) // groups, second.weight.shape[1], -1)
    weight.mul_(scales.view(groups, 1, -1, 1))
