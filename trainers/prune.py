"""Structured pruning: score the channels of every group, keep the best, cut the rest out of the tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch import rooms
from pqsearch.plan import Plan, channels_kept
from trainers.coupling import LAYERS, NORMS, Channels, Traced, is_depthwise


def needs_gradients(importance: str) -> bool:
    """Whether an importance looks at gradients (`GRADIENTS = True` in its file), so needs a batch."""
    return bool(rooms.constants("importances", importance).get("GRADIENTS", False))


def channel_scores(
    model: nn.Module,
    traced: Traced,
    importance: str = "l1",
    options: Mapping[str, Any] | None = None,
    batch: tuple[Tensor, Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> dict[str, Tensor]:
    """A score (channels,) per prunable group, of the whole group: every layer that writes or reads its channels counts.

    `batch` is (images, labels) on the model's device, for importances that look at gradients (`needs_gradients`): those of
    `loss`, of outputs and labels.
    """
    model = copy.deepcopy(model).eval()
    modules = dict(model.named_modules())
    with_gradients = needs_gradients(importance)
    if with_gradients:
        if batch is None:
            raise ValueError(f"importance {importance!r} needs a batch of images and labels")
        images, labels = batch
        model.zero_grad()
        loss(model(images), labels).backward()
    function = rooms.load("importances", importance)
    scores: dict[str, Tensor] = {}
    for index, group in enumerate(traced.info.groups):
        if not group.prunable:
            continue
        weights, gradients = [], []
        for name, side, channels in _sides(traced, modules, index):
            module = modules[name]
            if isinstance(module, LAYERS):
                weights.append(_rows(module, module.weight.detach(), side, channels, index))
                if with_gradients:
                    gradient = module.weight.grad if module.weight.grad is not None else torch.zeros_like(module.weight)
                    gradients.append(_rows(module, gradient, side, channels, index))
        scores[group.name] = function(weights, gradients if with_gradients else None, **(options or {}))
    return scores


def _sides(traced: Traced, modules: Mapping[str, nn.Module], group: int) -> list[tuple[str, str, Channels]]:
    writers = [(name, "out", owners) for name, owners in traced.outputs.items() if owners.has(group)]
    readers = [
        (name, "in", owners)
        for name, owners in traced.inputs.items()
        # A depthwise filter is both; it counts once.
        if owners.has(group) and not is_depthwise(modules[name])
    ]
    return writers + readers


def _rows(module: nn.Module, weight: Tensor, side: str, owners: Channels, group: int) -> Tensor:
    """Weights of one layer arranged (channels of the group, values that belong to each)."""
    if side == "out":
        rows = weight.flatten(1)
    elif isinstance(module, nn.Conv2d) and module.groups > 1:
        # (groups, out, in, ...) -> every input channel sees the outputs of its own convolution group.
        rows = weight.unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)
    else:
        rows = weight.transpose(0, 1).flatten(1)
    mine = owners.group == group
    order = torch.argsort(owners.index[mine], stable=True)
    channels = int(owners.index[mine].max()) + 1
    return rows[mine][order].reshape(channels, -1)


def keep_indices(traced: Traced, plan: Plan, scores: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Channels that stay, sorted, per pruned group. Without scores the first ones: shapes are all that matters then.

    A group that grouped convolutions write or read loses the same number of channels, the weakest, in each of their
    groups.
    """
    kept: dict[str, Tensor] = {}
    for group in traced.info.groups:
        rate = plan.prune_rate(group.name)
        number = channels_kept(group.channels, rate)
        if number == group.channels:
            continue
        score = scores[group.name].double() if scores else -torch.arange(group.channels, dtype=torch.double)
        blocks = score.reshape(group.unit, -1)
        # A stable sort gives ties to the lower index on every device.
        best = blocks.argsort(dim=1, descending=True, stable=True)[:, : number // group.unit]
        offsets = torch.arange(group.unit).unsqueeze(1) * blocks.shape[1]
        kept[group.name] = (best.cpu() + offsets).flatten().sort().values
    return kept


def remove_channels(model: nn.Module, traced: Traced, keep: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `model` that has only the channels in `keep` (all of a group that is not named)."""
    model = copy.deepcopy(model)
    if keep:
        masks = kept_masks(traced, keep)
        modules = dict(model.named_modules())
        for name in {**traced.outputs, **traced.inputs}:
            _cut(modules[name], picked(traced.outputs.get(name), masks), picked(traced.inputs.get(name), masks))
    return model


def kept_masks(traced: Traced, keep: Mapping[str, Tensor]) -> list[Tensor]:
    """For every group a mask (channels,) of what `keep` leaves, in the order of `traced.info.groups`."""
    masks = []
    for group in traced.info.groups:
        mask = torch.ones(group.channels, dtype=torch.bool)
        if group.name in keep:
            mask[:] = False
            mask[keep[group.name]] = True
        masks.append(mask)
    return masks


def picked(owners: Channels | None, masks: list[Tensor]) -> Tensor | None:
    """Which channels of one side of a module stay (bool), or None if all do."""
    if owners is None:
        return None
    stays = torch.ones(len(owners.group), dtype=torch.bool)
    for group in owners.group.unique().tolist():
        if group >= 0:
            mine = owners.group == group
            stays[mine] = masks[group][owners.index[mine]]
    return None if bool(stays.all()) else stays


def _cut(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    if outputs is None and inputs is None:
        return
    if isinstance(module, nn.Conv2d):
        _cut_conv(module, outputs, inputs)
    elif isinstance(module, nn.Linear):
        weight = module.weight.data
        weight = weight if outputs is None else weight[outputs]
        weight = weight if inputs is None else weight[:, inputs]
        _replace(module, "weight", weight)
        module.out_features, module.in_features = weight.shape
    else:
        for name in ("weight", "bias", "running_mean", "running_var"):
            _replace(module, name, _slice(getattr(module, name, None), outputs))
        if isinstance(module, NORMS) and outputs is not None:
            module.num_features = int(outputs.sum())
        elif isinstance(module, nn.PReLU) and outputs is not None:
            module.num_parameters = int(outputs.sum())
        return
    _replace(module, "bias", _slice(module.bias, outputs))


def _cut_conv(module: nn.Conv2d, outputs: Tensor | None, inputs: Tensor | None) -> None:
    weight, groups = module.weight.data, module.groups
    if is_depthwise(module):
        assert outputs is not None
        _replace(module, "weight", weight[outputs])
        module.in_channels = module.out_channels = module.groups = int(outputs.sum())
        return
    outputs = torch.ones(module.out_channels, dtype=torch.bool) if outputs is None else outputs
    inputs = torch.ones(module.in_channels, dtype=torch.bool) if inputs is None else inputs
    blocks = [
        block[rows][:, columns]
        for block, rows, columns in zip(weight.chunk(groups), outputs.chunk(groups), inputs.chunk(groups), strict=True)
    ]
    _replace(module, "weight", torch.cat(blocks))
    module.out_channels, module.in_channels = int(outputs.sum()), int(inputs.sum())


def _slice(tensor: Tensor | None, stays: Tensor | None) -> Tensor | None:
    return tensor if tensor is None or stays is None else tensor.data[stays]


def _replace(module: nn.Module, name: str, value: Tensor | None) -> None:
    before = getattr(module, name, None)
    if value is None or before is None or value is before:
        return
    fresh = value.contiguous()
    setattr(module, name, nn.Parameter(fresh, before.requires_grad) if isinstance(before, nn.Parameter) else fresh)
