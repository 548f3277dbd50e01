"""Forward passes that hooks look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def hooked_pass(model: nn.Module, images: Tensor, handles: Sequence[RemovableHandle]) -> None:
    """Send images through `model` in evaluation; afterwards it is in the mode that it was in, and the hooks of `handles` are gone."""
    mode = model.training
    model.eval()
    try:
        model(images)
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()


def used(layers: Mapping[str, nn.Module], run: Callable[[], object]) -> list[str]:
    """The names of `layers` in the order in which `run` uses them, of some perhaps several times."""
    found: list[str] = []
    names = {id(layer): name for name, layer in layers.items()}
    handles = [
        layer.register_forward_pre_hook(lambda layer, inputs: found.append(names[id(layer)]))
        for layer in layers.values()
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


class AllUses:
    """What layers read or give, of one that is used several times all of it: one grid has to serve."""

    def __init__(self, layers: Mapping[str, nn.Module], run: Callable[[], object]) -> None:
        """`run` sends something small through what the layers are in."""
        self._times = Counter(id(layers[name]) for name in used(layers, run))
        self._seen: dict[tuple[int, str], list[Tensor]] = {}

    def of(self, layer: nn.Module, what: str, x: Tensor) -> Tensor:
        """`x`, and behind a first use a row of all values so far."""
        if self._times[id(layer)] < 2:
            return x
        parts = self._seen.setdefault((id(layer), what), [])
        parts.append(x.detach().flatten())
        return torch.cat(parts)
