"""A network as a row of segments: parts with one tensor in and one out, found in its graph and not by the names of its classes.

Where only one tensor leads from what was computed to what will be, the network can be cut. Between two such cuts lies a residual
block, a branch and its joining, or a single layer of a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

from trainers.coupling import LAYERS
from trainers.heads import SilentConv, SilentLinear


@dataclass(frozen=True)
class Segment:
    """Operations from one cut to the next. `layers` are the names of the convolutions and linear layers inside."""

    layers: tuple[str, ...]
    _module: fx.GraphModule
    _nodes: tuple[fx.Node, ...]
    _input: fx.Node

    def __call__(self, x: Tensor) -> Tensor:
        """What the segment makes of what comes in."""
        values: dict[fx.Node, Any] = {self._input: x}

        def value(node: fx.Node) -> Any:
            # One parameter may be read in several segments.
            return attrgetter(str(node.target))(self._module) if node.op == "get_attr" else values[node]

        for node in self._nodes:
            values[node] = _run(self._module, node, *fx.node.map_arg((node.args, node.kwargs), value))
        found: Tensor = values[self._nodes[-1]]
        return found


class _Whole(nn.Module):
    """A network with its own hooks, which one chooses among several outputs: fx leaves those of its root out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)


class _NotFollowed(Exception):
    """The innermost module whose forward pass does something with what is not a tensor."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class _Tracer(fx.Tracer):
    """Stops at layers of ours, and at modules of these names, besides what torch has itself."""

    def __init__(self, closed: Collection[str]) -> None:
        super().__init__()
        self._closed = closed

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = module_qualified_name in self._closed or isinstance(m, (*LAYERS, SilentConv, SilentLinear))
        return ours or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except _NotFollowed:
            raise
        except Exception as error:
            raise _NotFollowed(self.path_of_module(m), " ".join(str(error).split())) from error


#: Is told the name of a module and something about it.
Told = Callable[[str, str], None]


def forget(name: str, reason: str) -> None:
    """Nobody wants to know."""


def segments(model: nn.Module, images: Tensor, whole: Told = forget) -> list[Segment]:
    """The segments of `model` in the order in which they are computed, each with a layer in it; `images` (batch, channels, height,
    width) show what shapes go through.

    What cannot be looked into is a part of one segment as a whole, and `whole` is told of it. Modules are the model's own: what
    changes there changes the segments. Raises `ValueError` where the model's own forward pass cannot be followed, with the reason.
    """
    module = fx.GraphModule(_Whole(model), _graph(model, whole))
    nodes, output = _needed(module)
    (start,) = (node for node in nodes if node.op == "placeholder")
    sizes = _sizes(module, images)
    cuts = _cuts(nodes, start, sizes)
    if cuts[-1] is not output:
        raise ValueError("what it returns is no tensor (images, ...), or not the last that it computes")
    found: list[tuple[list[fx.Node], fx.Node]] = []
    pending: list[fx.Node] = []
    entry = start
    places = {node: place for place, node in enumerate(nodes)}
    for before, cut in pairwise(cuts):
        own = nodes[places[before] + 1 : places[cut] + 1]
        if any(_layers(module, node) for node in own):
            found.append(([*pending, *own], entry))
            pending, entry = [], cut
        elif found and not pending and sizes[cut] == sizes[before]:
            # An activation belongs to what it follows; pooling belongs to what reads it.
            found[-1][0].extend(own)
            entry = cut
        else:
            pending += own
    if pending and found:
        found[-1][0].extend(pending)
    parts = [
        Segment(tuple(name for node in own for name in _layers(module, node)), module, tuple(own), entry)
        for own, entry in found
    ]
    return _united(parts)


def _graph(model: nn.Module, whole: Told) -> fx.Graph:
    closed: set[str] = set()
    while True:
        try:
            return _Tracer(closed).trace(_Whole(model))
        except _NotFollowed as error:
            if error.name == "network" or error.name in closed:
                raise ValueError(str(error)) from error
            closed.add(error.name)
            whole(error.name.removeprefix("network."), str(error))


def _united(parts: Sequence[Segment]) -> list[Segment]:
    """A layer that is used in several places belongs to one segment, with all that lies between."""
    found: list[Segment] = []
    for part in parts:
        first = next((place for place, one in enumerate(found) if set(one.layers) & set(part.layers)), len(found))
        together, found = [*found[first:], part], found[:first]
        found.append(
            replace(
                together[0],
                layers=tuple(name for one in together for name in one.layers),
                _nodes=tuple(node for one in together for node in one._nodes),
            )
        )
    return found


def _needed(module: fx.GraphModule) -> tuple[list[fx.Node], fx.Node]:
    """What has to be computed for the output, in order, without parameters, and the output itself."""
    nodes = list(module.graph.nodes)
    (output,) = nodes[-1].args
    if not isinstance(output, fx.Node):
        raise ValueError("it returns several outputs")
    needed = {output}
    for node in reversed(nodes):
        # In place of what is needed it matters whether or not anybody reads what it returns.
        if node in needed or (_in_place(module, node) and needed.intersection(node.all_input_nodes[:1])):
            needed |= {node, *node.all_input_nodes}
    kept = [node for node in nodes if node.op == "placeholder" or (node in needed and node.op != "get_attr")]
    return kept, output


def _in_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return bool(node.kwargs.get("inplace")) or name == "setitem" or (name.endswith("_") and not name.endswith("__"))


def _cuts(nodes: list[fx.Node], start: fx.Node, sizes: dict[fx.Node, int]) -> list[fx.Node]:
    """Nodes, from the image on, whose value is all that what comes later reads, one tensor."""
    places = {node: place for place, node in enumerate(nodes)}
    last = {
        node: max((places.get(user, len(nodes) if user.op == "output" else 0) for user in node.users), default=place)
        for node, place in places.items()
    }
    found, alive = [start], {start}
    for node in nodes:
        if node is start:
            continue
        alive = {one for one in alive if last[one] > places[node]} | {node}
        if alive == {node} and node in sizes:
            found.append(node)
    return found


def _sizes(module: fx.GraphModule, images: Tensor) -> dict[fx.Node, int]:
    """Elements of an image's values at the nodes that have a tensor (images, ...)."""
    sizes: dict[fx.Node, int] = {}
    few = images[:3]

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.ndim and len(value) == len(few):
                sizes[n] = value[0].numel()
            return value

    with torch.no_grad():
        Watched(module).run(few)
    return sizes


def _layers(module: fx.GraphModule, node: fx.Node) -> list[str]:
    """The layers that a node computes with: one, or those inside of what is not looked into."""
    if node.op != "call_module":
        return []
    name = str(node.target)
    parts = module.get_submodule(name).named_modules(prefix=name)
    return [name.removeprefix("network.") for name, part in parts if isinstance(part, LAYERS)]


def _run(module: fx.GraphModule, node: fx.Node, arguments: Any, named: Any) -> Any:
    if node.op == "call_module":
        return module.get_submodule(str(node.target))(*arguments, **named)
    if node.op == "call_method":
        own, *others = arguments
        return getattr(own, str(node.target))(*others, **named)
    function: Callable[..., Any] = node.target  # type: ignore[assignment]
    return function(*arguments, **named)
