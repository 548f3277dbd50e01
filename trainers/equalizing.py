"""Cross-layer equalisation: channels between two layers are scaled so that both have weights of like size (Nagel et al., Data-Free
Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1).

Where one layer's outputs are read by one other alone, by way of operations f with f(s x) = s f(x) for s > 0, dividing a channel's
weights and bias in the first by s and multiplying its weights in the second by s changes nothing (equations 4 to 7). Which pairs those
are is read from the gradients' graph and then tried on the network, so no list of operations has to be trusted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from trainers.coupling import LAYERS
from trainers.merging import Graph

Layer = nn.Conv2d | nn.Linear

#: Relative difference that rounding leaves in float64.
TOLERANCE = 1e-9
#: Rounds over all pairs; after so many, sizes hardly change any more.
ROUNDS = 20
#: Scales stay within this and its inverse: a channel that is nearly dead would want any.
MOST = 1e3


def equalize(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[nn.Module, list[tuple[str, str]]]:
    """A copy of `model`, whose batch norm is merged, with equalised weights, and the pairs of layers between which it was done.

    It gives the same outputs up to rounding; the original is untouched. Images are of `input_shape` (channels, height, width).
    """
    found = copy.deepcopy(model).eval().requires_grad_(True)
    pairs = [pair for pair in _neighbours(found, input_shape) if _commutes(found, pair, input_shape)]
    modules = cast("dict[str, Layer]", dict(found.named_modules()))
    for _ in range(ROUNDS):
        for first, second in pairs:
            _scale(modules[first], modules[second], _wanted(modules[first], modules[second]))
    return found.requires_grad_(False), pairs


def unclipped(model: nn.Module) -> nn.Module:
    """A copy with ReLU where `model` has ReLU6, which lets no scale through: 6 stays 6 (section 5.1.1). Outputs change where a value
    was above 6.
    """
    found = copy.deepcopy(model)
    for name, part in list(found.named_modules()):
        if isinstance(part, nn.ReLU6):
            parent, _, key = name.rpartition(".")
            setattr(found.get_submodule(parent) if parent else found, key, nn.ReLU(part.inplace))
    return found


def _neighbours(model: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """Layers whose outputs go to one other alone, with it; everything in between is read once."""
    graph = Graph(model, input_shape)
    modules = dict(model.named_modules())
    layers = {name: call for name in graph.calls if isinstance(modules[name], LAYERS) and (call := graph.once(name))}
    made_by = {call.result: name for name, call in layers.items()}
    found = []
    for name, call in layers.items():
        node = call.source
        while node is not None and graph.readers[node] == 1 and node not in made_by:
            before = [one for one, _ in node.next_functions if one is not None]
            node = before[0] if len(before) == 1 else None
        if node in made_by and graph.readers[node] == 1:
            first, second = modules[made_by[node]], modules[name]
            if _outputs(first) == _inputs(second):
                found.append((made_by[node], name))
    return found


def _outputs(layer: nn.Module) -> int:
    return int(cast("Layer", layer).weight.shape[0])


def _inputs(layer: nn.Module) -> int:
    return int(cast("Layer", layer).weight.shape[1]) * int(getattr(layer, "groups", 1))


def _commutes(model: nn.Module, pair: tuple[str, str], input_shape: tuple[int, ...]) -> bool:
    """Whether scaling between two layers leaves the outputs as they are: tried in float64, with scales in both directions."""
    trial = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(0)
    # Small and large ones: some operations clip what is far out and nothing else.
    sizes = torch.tensor([1.0, 1e3], dtype=torch.double).view(-1, *[1] * len(input_shape))
    images = torch.randn(2, *input_shape, generator=generator, dtype=torch.double) * sizes
    modules = cast("dict[str, Layer]", dict(trial.named_modules()))
    first, second = (modules[name] for name in pair)
    with torch.no_grad():
        wanted = trial(images)
        scales = 2.0 ** (4 * torch.rand(_outputs(first), generator=generator, dtype=torch.double) - 2)
        _scale(first, second, scales)
        found = trial(images)
    return bool(((found - wanted).abs().amax(1) <= TOLERANCE * wanted.abs().amax(1)).all())


def _wanted(first: Layer, second: Layer) -> Tensor:
    """Scales (channels,) that make the largest weights of both sides of each channel alike (equation 11)."""
    out, into = first.weight.detach().abs().flatten(1).amax(1), _by_input(second, lambda one: one.abs().amax(1))
    scales = (out / into).sqrt()
    # A channel that has no weights on one side is left as it is.
    return torch.where((out > 0) & (into > 0), scales, 1.0).clamp(1 / MOST, MOST)


def _by_input(layer: Layer, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """A number of each input channel, from all its weights (channels, weights)."""
    weight = layer.weight.detach()
    groups = getattr(layer, "groups", 1)
    parts = weight.view(groups, len(weight) // groups, weight.shape[1], -1).transpose(1, 2)
    return measure(parts.reshape(groups * weight.shape[1], -1))


@torch.no_grad()
def _scale(first: Layer, second: Layer, scales: Tensor) -> None:
    first.weight.div_(scales.view(-1, *[1] * (first.weight.ndim - 1)))
    if first.bias is not None:
        first.bias.div_(scales)
    groups = getattr(second, "groups", 1)
    weight = second.weight.view(groups, len(second.weight) // groups, second.weight.shape[1], -1)
    weight.mul_(scales.view(groups, 1, -1, 1))
