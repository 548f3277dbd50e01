"""What a model is: its layers, and the groups of channels that can only go together.

The coupling comes from torch-pruning's dependency graph (Fang et al., DepGraph, CVPR 2023), read once in the index
space of the untouched model. Surgery then cuts every group at once by index (`trainers/prune.py`), so that what is
removed of one group cannot depend on what was removed of another.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

import torch
from torch import Tensor, nn

from pqsearch.errors import UserError
from pqsearch.plan import FIXED, GroupInfo, LayerInfo, ModelInfo, NormInfo, Source
from trainers.coupling import LAYERS, NORMS, Channels, Coupling, Traced, couple, is_depthwise, uncoupled
from trainers.heads import returned
from trainers.verify import cut_problem


@torch.enable_grad()
def trace(model: nn.Module, input_shape: tuple[int, ...]) -> Traced:
    """Layers and groups of `model` for images of `input_shape` (channels, height, width).

    Every group that is called prunable was cut once and the smaller network compared with the original one whose
    same channels are silent. Raises `UserError` if the model cannot be run or has nothing to compress.
    """
    model = copy.deepcopy(model).cpu().eval().requires_grad_(True)
    sizes = _sizes(model, input_shape)
    if not sizes:
        raise UserError(
            "model: has no convolution or linear layer that its forward pass uses, so nothing to prune or quantise; "
            "name another model"
        )
    modules = dict(model.named_modules())
    _check_plain(modules, list(sizes))
    coupling = _coupling(model, input_shape, list(sizes))
    groups = [_group(modules, coupling, index, list(sizes)) for index in range(len(coupling.roots))]
    layers = tuple(_layer(name, modules[name], coupling, size) for name, size in sizes.items())
    norms = tuple(_norms(modules, coupling))
    listed = set(sizes) | {norm.name for norm in norms}
    counted = {id(p) for name in listed for p in modules[name].parameters(recurse=False)}
    others = sum(p.numel() for p in model.parameters() if id(p) not in counted)
    groups = _split_sources(groups, layers, norms)
    info = ModelInfo(layers, tuple(groups), norms, others, tuple(input_shape))
    return _verified(model, Traced(info, coupling.outputs, coupling.inputs))


def _check_plain(modules: Mapping[str, nn.Module], names: list[str]) -> None:
    """Layers whose weight is not simply their own can be neither cut nor quantised. Raises `UserError`."""
    problems, owner = [], dict[int, str]()
    for name in names:
        module = modules[name]
        base = nn.Conv2d if isinstance(module, nn.Conv2d) else nn.Linear
        weight = module._parameters.get("weight")
        if type(module).forward is not base.forward or weight is None:
            problems.append(
                f"model: the layer {name} ({type(module).__name__}) computes its output or its weight in its own way; "
                f"use a plain torch.nn.{base.__name__}"
            )
        elif id(weight) in owner:
            problems.append(f"model: the layers {owner[id(weight)]} and {name} share one weight; call one layer twice")
        else:
            owner[id(weight)] = name
    if problems:
        raise UserError(problems)


@dataclass
class _Size:
    input: int = 0
    output: int = 0


def _sizes(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, _Size]:
    """Positions read and written by each layer for one image, summed over its uses, in forward order."""
    sizes: dict[str, _Size] = defaultdict(_Size)
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):

            def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                sizes[name].input += _positions(module, inputs[0])
                sizes[name].output += _positions(module, output)

            handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            output = model(torch.zeros(1, *input_shape))
    except Exception as error:
        raise UserError(
            f"model: cannot be traced: its forward pass on an image of shape {tuple(input_shape)} fails "
            f"({_first_line(error)}); check model.options and the data's image size"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output.ndim != 2:
        if not isinstance(output, Tensor):
            raise UserError(
                f"model: must return a tensor of shape (batch, classes): {returned(output)}; model.output names the one that counts"
            )
        shape = tuple(output.shape)
        raise UserError(f"model: must return a tensor of shape (batch, classes), got {shape}; wrap it so that it does")
    return dict(sizes)


def _positions(module: nn.Module, tensor: Tensor) -> int:
    return tensor[0, 0].numel() if isinstance(module, nn.Conv2d) else tensor[0, ..., 0].numel()


def _coupling(model: nn.Module, input_shape: tuple[int, ...], order: list[str]) -> Coupling:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return couple(model, torch.zeros(1, *input_shape), order)
    except Exception as error:
        # The network runs, so its bits can still be searched.
        reason = f"the network's channels cannot be followed through its forward pass ({_first_line(error)})"
        return uncoupled(dict(model.named_modules()), order, reason)


def _group(modules: Mapping[str, nn.Module], coupling: Coupling, index: int, order: list[str]) -> GroupInfo:
    channels = coupling.widths[index]
    layers = [name for name in order if coupling.outputs[name].has(index)]
    units, reasons = [1], [coupling.reasons[index]]
    for name in layers:
        module, owners = modules[name], coupling.outputs[name]
        if not owners.permutes(index, channels):
            reasons.append(f"{name} writes it beside other channels (a layer used twice, behind a concat or a split)")
        if _is_grouped(module):
            units.append(module.groups)
            if not owners.whole(index):
                reasons.append(f"the grouped convolution {name} writes it in another order")
    for name, owners in coupling.inputs.items():
        module = modules[name]
        if owners.has(index) and _is_grouped(module):
            units.append(module.groups)
            if not owners.whole(index):
                reasons.append(f"the grouped convolution {name} reads it beside others")
            if module.in_channels == module.groups:
                reasons.append(f"the convolution {name} reads one channel for several outputs")
    unit = math.lcm(*units)
    if channels < 2 * unit:
        reasons.append(f"has {channels} channels and can lose only {unit} at a time")
    reason = next((reason for reason in reasons if reason), "")
    return GroupInfo(coupling.roots[index], channels, unit, tuple(layers), not reason, reason)


def _is_grouped(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and module.groups > 1 and not is_depthwise(module)


def _layer(name: str, module: nn.Module, coupling: Coupling, size: _Size) -> LayerInfo:
    if isinstance(module, nn.Conv2d):
        kind, inputs, outputs = "conv", module.in_channels, module.out_channels
        kernel, groups = math.prod(module.kernel_size), module.groups
    else:
        assert isinstance(module, nn.Linear)
        kind, inputs, outputs, kernel, groups = "linear", module.in_features, module.out_features, 1, 1
    owners = coupling.inputs.get(name)
    return LayerInfo(
        name=name,
        kind=kind,
        inputs=owners.sources() if owners is not None else (Source(FIXED, inputs),),
        output=coupling.outputs[name].only_group(),
        in_channels=inputs,
        out_channels=outputs,
        kernel_size=kernel,
        groups=groups,
        in_size=size.input,
        out_size=size.output,
        bias=module.bias is not None,
    )


def _norms(modules: Mapping[str, nn.Module], coupling: Coupling) -> Iterator[NormInfo]:
    for name, module in modules.items():
        if isinstance(module, NORMS):
            owners = coupling.outputs.get(name, Channels.fixed(module.num_features))
            buffers = 2 if module.track_running_stats else 0
            yield NormInfo(name, owners.sources(), 2 if module.affine else 0, buffers)
        elif isinstance(module, nn.PReLU) and module.num_parameters > 1:
            owners = coupling.outputs.get(name, Channels.fixed(module.num_parameters))
            yield NormInfo(name, owners.sources(), 1, 0)


def _split_sources(
    groups: list[GroupInfo], layers: tuple[LayerInfo, ...], norms: tuple[NormInfo, ...]
) -> list[GroupInfo]:
    """A reader that sees only some of a group's channels makes costs depend on which ones go: not prunable."""
    readers = [(layer.name, layer.inputs) for layer in layers] + [(norm.name, norm.inputs) for norm in norms]
    for name, inputs in readers:
        for source in inputs:
            if source.group != FIXED and source.channels != groups[source.group].channels:
                group = groups[source.group]
                reason = group.reason or f"{name} reads only a part of it (a split or a shuffle)"
                groups[source.group] = replace(group, prunable=False, reason=reason)
    return groups


def _verified(model: nn.Module, traced: Traced) -> Traced:
    def forbid(index: int, reason: str) -> None:
        nonlocal traced
        groups = list(traced.info.groups)
        groups[index] = replace(groups[index], prunable=False, reason=reason)
        traced = replace(traced, info=replace(traced.info, groups=tuple(groups)))

    open_groups = [index for index, group in enumerate(traced.info.groups) if group.prunable]
    if open_groups and cut_problem(model, traced, open_groups):
        for index in open_groups:
            problem = cut_problem(model, traced, [index])
            if problem:
                forbid(index, problem)
        open_groups = [index for index, group in enumerate(traced.info.groups) if group.prunable]
        problem = cut_problem(model, traced, open_groups) if open_groups else None
        if problem:
            for index in open_groups:
                forbid(index, f"groups cannot be cut together: {problem}")
    return traced


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
