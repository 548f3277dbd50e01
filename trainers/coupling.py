"""Which channels go together, read off torch-pruning's dependency graph in the original model's indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import torch
import torch_pruning as tp
from torch import Tensor, nn

from pqsearch.plan import FIXED, ModelInfo, Source

LAYERS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)
CUTTABLE = (*LAYERS, *NORMS, nn.PReLU)


@dataclass(frozen=True)
class Channels:
    """The owner of each channel of one side of a module: tensors (channels,) of group and of index in the group.

    Group `FIXED` marks channels that no group owns.
    """

    group: Tensor
    index: Tensor

    @classmethod
    def fixed(cls, channels: int) -> Channels:
        return cls(torch.full((channels,), FIXED), torch.zeros(channels, dtype=torch.long))

    def has(self, group: int) -> bool:
        return bool((self.group == group).any())

    def whole(self, group: int) -> bool:
        """All of the channels belong to the group, in order."""
        return bool((self.group == group).all()) and self.index.equal(torch.arange(len(self.index)))

    def permutes(self, group: int, channels: int) -> bool:
        """The channels are the `channels` of the group, each once, in any order."""
        return bool((self.group == group).all()) and self.index.sort().values.equal(torch.arange(channels))

    def only_group(self) -> int:
        groups = self.group.unique().tolist()
        return groups[0] if len(groups) == 1 else FIXED

    def sources(self) -> tuple[Source, ...]:
        """Runs of channels of one group, with the number of consecutive elements that a channel stands for."""
        runs: list[Source] = []
        owned = zip(self.group.tolist(), self.index.tolist(), strict=True)
        for group, pairs in groupby(owned, key=lambda pair: pair[0]):
            indices = [index for _, index in pairs]
            if group == FIXED:
                runs.append(Source(FIXED, len(indices)))
                continue
            start = 0
            for position in range(1, len(indices) + 1):
                # A tensor concatenated with itself starts over: a run of its own.
                if position == len(indices) or indices[position] < indices[position - 1]:
                    part = indices[start:position]
                    distinct = len(set(part))
                    runs.append(Source(group, distinct, len(part) // distinct))
                    start = position
        return tuple(runs)


@dataclass(frozen=True)
class Traced:
    """A model's layers and groups, and for every module whose channels they are.

    `outputs` and `inputs` map a module's name to the owner of each of its channels.
    """

    info: ModelInfo
    outputs: Mapping[str, Channels]
    inputs: Mapping[str, Channels]


@dataclass(frozen=True)
class Coupling:
    """Groups by index: the layer that leads each, its channels, and why it cannot be pruned ("" if it may)."""

    roots: list[str]
    widths: list[int]
    reasons: list[str]
    outputs: dict[str, Channels]
    inputs: dict[str, Channels]


def couple(model: nn.Module, example: Tensor, order: list[str]) -> Coupling:
    """Groups of the conv and linear layers named in `order` (forward order). Raises what torch-pruning raises."""
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    names = {module: name for name, module in model.named_modules()}
    modules = dict(model.named_modules())
    found = Coupling([], [], [], {}, {})
    # A depthwise convolution follows its input; it leads a group only when nothing else does.
    leaders = sorted(order, key=lambda name: is_depthwise(modules[name]))
    for root in leaders:
        if root in found.outputs:
            continue
        module = modules[root]
        width = _width(module)
        pruner = graph.get_pruner_of_module(module)
        group = graph.get_pruning_group(module, pruner.prune_out_channels, list(range(width)))
        number = len(found.roots)
        reasons = []
        for item in group._group:
            target, handler = item.dep.target, item.dep.handler
            part, reason = target.module, ""
            if isinstance(part, nn.Parameter):
                reason = f"the parameter {target.name} shares its channels"
            elif part in names and isinstance(part, CUTTABLE):
                # Batch norm and PReLU have one side; torch-pruning calls it both.
                is_input = isinstance(part, LAYERS) and graph.is_in_channel_pruning_fn(handler)
                _own(found, names[part], part, is_input, number, item.idxs, item.root_idxs)
                if not is_input and isinstance(part, LAYERS) and not target.outputs:
                    reason = "its channels are the model's outputs"
            elif "Pad" in target.name:
                reason = "its channels are zero-padded on the way (an option-A shortcut)"
            elif part in names and any(True for _ in part.parameters()):
                reason = f"{names[part]} ({type(part).__name__}) cannot be cut"
            if reason:
                reasons.append(reason)
        found.roots.append(root)
        found.widths.append(width)
        found.reasons.append(reasons[0] if reasons else "")
    return found


def uncoupled(modules: Mapping[str, nn.Module], order: list[str], reason: str) -> Coupling:
    """Every layer a group of its own that cannot be pruned because of `reason`."""
    widths = [_width(modules[name]) for name in order]
    outputs = {
        name: Channels(torch.full((width,), number), torch.arange(width))
        for number, (name, width) in enumerate(zip(order, widths, strict=True))
    }
    return Coupling(list(order), widths, [reason] * len(order), outputs, {})


def _own(
    found: Coupling, name: str, module: nn.Module, is_input: bool, group: int, indices: list[int], roots: list[int]
) -> None:
    sides = [found.inputs if is_input else found.outputs]
    if is_depthwise(module):
        sides = [found.inputs, found.outputs]
    for side in sides:
        width = _width(module, side is found.inputs)
        owners = side.setdefault(name, Channels.fixed(width))
        where = torch.tensor([int(index) for index in indices])
        owners.group[where] = group
        owners.index[where] = torch.tensor([int(root) for root in roots])


def _width(module: nn.Module, inputs: bool = False) -> int:
    if isinstance(module, nn.Conv2d):
        return module.in_channels if inputs else module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features if inputs else module.out_features
    if isinstance(module, NORMS):
        return module.num_features
    assert isinstance(module, nn.PReLU)
    return module.num_parameters


def is_depthwise(module: nn.Module) -> bool:
    """One filter per channel, which goes with its channel."""
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels
