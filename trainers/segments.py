"""A network as a row of segments: parts with one tensor in and one out, found in its graph and not by the names of its classes.

Where only one tensor leads from what was computed to what will be, the network can be cut. Between two such cuts lies a residual
block, a branch and its joining, or a single layer of a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn

from trainers.coupling import LAYERS


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
        for node in self._nodes:
            arguments = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = _run(self._module, node, *arguments)
        found: Tensor = values[self._nodes[-1]]
        return found


class _Tracer(fx.Tracer):
    """Stops at modules that hold parameters or buffers of their own, whatever package they are from."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LAYERS) or super().is_leaf_module(m, module_qualified_name)


def segments(model: nn.Module, images: Tensor) -> list[Segment]:
    """The segments of `model` in the order in which they are computed, each with a layer in it; `images` (batch, channels, height,
    width) show what shapes go through.

    Modules are the model's own: what changes there changes the segments. Raises `ValueError` where the forward pass cannot be
    followed, with the reason.
    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # whatever a forward pass does with what is not a tensor
        raise ValueError(" ".join(str(error).split())) from error
    module = fx.GraphModule(model, graph)
    nodes = [node for node in module.graph.nodes if node.op != "output"]
    (start,) = (node for node in nodes if node.op == "placeholder")
    cuts = _cuts(nodes, start)
    sizes = _sizes(module, nodes, images, set(cuts))
    found: list[tuple[list[fx.Node], fx.Node]] = []
    pending: list[fx.Node] = []
    entry = start
    places = {node: place for place, node in enumerate(nodes)}
    for before, cut in pairwise(cuts):
        own = [node for node in nodes[places[before] + 1 : places[cut] + 1] if node.op != "placeholder"]
        if any(_is_layer(module, node) for node in own):
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
    return [
        Segment(tuple(str(node.target) for node in own if _is_layer(module, node)), module, tuple(own), entry)
        for own, entry in found
    ]


def _cuts(nodes: list[fx.Node], start: fx.Node) -> list[fx.Node]:
    """Nodes, from the image on, whose value is all that what comes later reads."""
    places = {node: place for place, node in enumerate(nodes)}
    last = {
        node: max((places.get(user, len(nodes)) for user in node.users), default=place)
        for node, place in places.items()
    }
    found, alive = [start], {start}
    for node in nodes:
        if node.op == "get_attr" or node is start:
            continue
        alive = {one for one in alive if last[one] > places[node]} | {node}
        if alive == {node}:
            found.append(node)
    return found


def _sizes(module: fx.GraphModule, nodes: list[fx.Node], images: Tensor, wanted: set[fx.Node]) -> dict[fx.Node, int]:
    """Elements of an image's values at some nodes."""
    sizes: dict[fx.Node, int] = {}

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in wanted and isinstance(value, Tensor):
                sizes[n] = value[0].numel()
            return value

    with torch.no_grad():
        Watched(module).run(images[:1])
    return sizes


def _is_layer(module: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), LAYERS)


def _run(module: fx.GraphModule, node: fx.Node, arguments: Any, named: Any) -> Any:
    if node.op == "call_module":
        return module.get_submodule(str(node.target))(*arguments, **named)
    if node.op == "call_method":
        own, *others = arguments
        return getattr(own, str(node.target))(*others, **named)
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        return getattr(module.get_submodule(owner), name)
    function: Callable[..., Any] = node.target  # type: ignore[assignment]
    return function(*arguments, **named)
