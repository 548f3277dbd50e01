"""Batch norm folded into the convolution or linear layer beside it: the same function with fewer operations.

In evaluation batch norm is s x + t, channel by channel, with s = weight / sqrt(running_var + eps) and t = bias - s running_mean
(Ioffe and Szegedy, ICML 2015). Behind a layer that makes its weights s w and its bias s b + t. Ahead of one it makes them w s
along the inputs and b + w t, unless zeros are padded in between, which the norm would have moved.

Who reads what is taken from the gradients' graph of one forward pass, so that any network which runs can be followed. What reads
without gradients is not in it; so the merged network is tried, and a norm that it misses stays.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainers.coupling import LAYERS, NORMS

Layer = nn.Conv2d | nn.Linear

#: Relative difference of the outputs that rounding leaves in float64, and in float32 where a network knows nothing else.
TOLERANCE, SINGLE_TOLERANCE = 1e-9, 1e-3
#: Forward passes whose weights are what they say; a subclass that computes otherwise is left alone.
PLAIN_LAYERS = {nn.Conv2d.forward, nn.Linear.forward}
PLAIN_NORMS = {norm.forward for norm in NORMS}


@dataclass
class Merged:
    """A network without the norms that are keys of `into`, whose values are the layers they went into; `left` says of every other
    one why it stays.
    """

    model: nn.Module
    into: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """One use of a module: what made its input (None for the image), what makes its output, and the input's dimensions."""

    source: Any
    result: Any
    ndim: int


class Graph:
    """Uses of a network's layers and norms, and of modules of kinds named `also`, in one forward pass, and how many read what each
    operation makes.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...], also: tuple[type[nn.Module], ...] = ()) -> None:
        self.calls: dict[str, list[_Call]] = {}
        kinds: tuple[type[nn.Module], ...] = (*LAYERS, *NORMS, *also)
        handles = []
        for name, module in model.named_modules():
            if isinstance(module, kinds):

                def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                    call = _Call(inputs[0].grad_fn, output.grad_fn, inputs[0].ndim)
                    self.calls.setdefault(name, []).append(call)

                handles.append(module.register_forward_hook(note))
        parameter = next(model.parameters())
        images = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
        try:
            with torch.enable_grad():
                output = model(images)
        finally:
            for handle in handles:
                handle.remove()
        self.readers = Counter({output.grad_fn: 1})
        waiting, seen = [output.grad_fn], {output.grad_fn}
        while waiting:
            for node, _ in waiting.pop().next_functions:
                self.readers[node] += 1
                if node is not None and node not in seen:
                    seen.add(node)
                    waiting.append(node)

    def once(self, name: str) -> _Call | None:
        """The use of what is used once."""
        calls = self.calls.get(name, [])
        return calls[0] if len(calls) == 1 else None


def merge_batch_norm(model: nn.Module, input_shape: tuple[int, ...]) -> Merged:
    """A copy of `model`, in evaluation, for images of `input_shape` (channels, height, width); the original is untouched.

    The copy gives the same outputs up to rounding; merging is done in float64. It has batch norm no more where it could be
    merged, so it is not for training.
    """
    return _merged(model, input_shape, _missed(model, input_shape))


def _missed(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, str]:
    """Norms that change the outputs when they are merged, though the graph allows it, and why: found by trying."""
    exact, tolerance = copy.deepcopy(model).cpu().double().eval(), TOLERANCE
    images = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    with torch.no_grad():
        try:
            wanted = exact(images)
        except RuntimeError:  # a forward pass that insists on single precision
            exact, images, tolerance = exact.float(), images.float(), SINGLE_TOLERANCE
            wanted = exact(images)

    def same(merged: Merged) -> bool:
        with torch.no_grad():
            found = merged.model(images)
        return bool((found - wanted).abs().max() <= tolerance * wanted.abs().max())

    whole = _merged(exact, input_shape, {})
    if not whole.into or same(whole):
        return {}
    return {
        name: f"cannot go into {into} without a change: something reads between them where no gradients go"
        for name, into in whole.into.items()
        if not same(_merged(exact, input_shape, dict.fromkeys(whole.into.keys() - {name}, "")))
    }


def _merged(model: nn.Module, input_shape: tuple[int, ...], left: Mapping[str, str]) -> Merged:
    """With all norms merged where that can be but those `left`, by name, with why."""
    merged = Merged(copy.deepcopy(model).eval().requires_grad_(True))
    modules = dict(merged.model.named_modules())
    graph = Graph(merged.model, input_shape)
    for name, norm in modules.items():
        if not isinstance(norm, NORMS):
            continue
        found = left[name] if name in left else _place(name, norm, modules, graph)
        if isinstance(found, str):
            merged.left[name] = found
            continue
        into, behind = found
        layer = modules[into]
        assert isinstance(layer, LAYERS)
        (_fold_behind if behind else _fold_ahead)(layer, *line(norm))
        replace(merged.model, norm, nn.Identity())
        merged.into[name] = into
    return merged


def _place(name: str, norm: nn.Module, modules: dict[str, nn.Module], graph: Graph) -> tuple[str, bool] | str:
    """The layer that a norm goes into and whether the norm stands behind it, or why there is none."""
    if norm.running_mean is None or norm.running_var is None:
        return "has no running statistics: it normalises by each batch"
    if type(norm).forward not in PLAIN_NORMS:
        return f"is a {type(norm).__name__}, which computes something else than batch norm"
    call = graph.once(name)
    if call is None:
        return "is not used once in a forward pass"
    reasons = []
    for layer, uses in graph.calls.items():
        if not isinstance(modules[layer], LAYERS):
            continue
        behind = call.source is not None and any(use.result is call.source for use in uses)
        if behind or any(use.source is call.result for use in uses):
            problem = _problem(layer, modules[layer], call, behind, graph)
            if problem is None:
                return layer, behind
            reasons.append(problem)
    return "; ".join(reasons) or "no layer stands directly before or behind it"


def _problem(name: str, layer: nn.Module, norm: _Call, behind: bool, graph: Graph) -> str | None:
    """Why a norm cannot go into the layer beside it, in words."""
    if graph.once(name) is None:
        return f"{name} is used more than once"
    if type(layer).forward not in PLAIN_LAYERS or layer._parameters.get("weight") is None:
        return f"{name} ({type(layer).__name__}) is quantised or computes in a way of its own; merge first"
    if isinstance(layer, nn.Linear) and norm.ndim != 2:
        return f"{name} has its features along another dimension"
    if behind and graph.readers[norm.source] > 1:
        return f"{name} is read by others, too"
    if not behind and graph.readers[norm.result] > 1:
        return f"{name} is not the only one that reads it"
    if not behind and _pads_zeros(layer):
        return f"{name} pads its output with zeros"
    return None


def _pads_zeros(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or layer.padding == "valid":
        return False
    return layer.padding == "same" or any(layer.padding)


def line(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel, in float64."""
    assert isinstance(norm, NORMS) and norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale, shift


def _fold_behind(layer: Layer, scale: Tensor, shift: Tensor) -> None:
    weight = layer.weight.detach().double()
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    _set(layer, weight * scale.view(-1, *[1] * (weight.ndim - 1)), scale * bias + shift)


def _fold_ahead(layer: Layer, scale: Tensor, shift: Tensor) -> None:
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.Conv2d):
        # Each output sees the channels of its own group.
        own = [
            part.view(layer.groups, 1, -1, 1, 1).expand(-1, len(weight) // layer.groups, -1, 1, 1)
            for part in (scale, shift)
        ]
        scale, shift = (part.reshape(len(weight), -1, 1, 1) for part in own)
    added = (weight * shift).flatten(1).sum(1)
    _set(layer, weight * scale, added if layer.bias is None else layer.bias.detach().double() + added)


def _set(layer: Layer, weight: Tensor, bias: Tensor) -> None:
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype))
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype))


def replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put one part of a model in the place of another, under every name that it has."""
    # The old one may be a part of the new one, and stays there.
    own = set(new.modules())
    for parent in [one for one in model.modules() if one not in own]:
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
