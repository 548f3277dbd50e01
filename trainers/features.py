"""Learning from what a teacher's layers look at: attention transfer (Zagoruyko and Komodakis, ICLR 2017).

A layer's map is the sum of its squared outputs over channels, scaled to length 1. It has no channels any more, so a network from
which some are pruned is compared with the whole one without anything learned in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.errors import UserError


class Features:
    """The maps of layers of a student that is being trained, and of its teacher's layers of the same names."""

    def __init__(self, student: nn.Module, teacher: nn.Module, patterns: Sequence[str]) -> None:
        self._seen: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        for network, seen in zip((student, teacher), self._seen, strict=True):
            learns = network is student
            for name in matching(network, patterns):
                network.get_submodule(name).register_forward_hook(_keeper(seen, name, learns))

    def loss(self) -> Tensor:
        """How far the maps of the last batch are apart: squared distances, from 0 to 2, their mean over images and layers."""
        student, teacher = self._seen
        apart = [(found - teacher[name]).square().sum(1).mean() for name, found in student.items()]
        student.clear()
        teacher.clear()
        return torch.stack(apart).mean()


def _keeper(seen: dict[str, Tensor], name: str, learns: bool) -> Callable[..., None]:
    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        # A student is scored without gradients; nobody asks for its maps then.
        if torch.is_grad_enabled() or not learns:
            seen[name] = attention(output)

    return keep


def attention(outputs: Tensor) -> Tensor:
    """Outputs (images, C, H, W) as maps (images, H * W) of length 1, in float32."""
    return functional.normalize(outputs.float().square().sum(1).flatten(1))


def matching(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Names of the convolutions that match one of the patterns."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def check_features(
    student: nn.Module, teacher: nn.Module, patterns: Sequence[str], input_shape: tuple[int, ...]
) -> None:
    """Raises `UserError` for a pattern that no convolution has, and for layers of which the teacher has none, or one of other size."""
    key = "finetune.feature_layers"
    problems = [
        f"{key}: no convolution is called {pattern!r}; `pqsearch check` lists the layers"
        for pattern in patterns
        if not matching(student, [pattern])
    ]
    mine, theirs = (_sizes(network, matching(network, patterns), input_shape) for network in (student, teacher))
    for name, size in mine.items():
        if name not in theirs:
            problems.append(f"{key}: the teacher has no convolution {name!r}; name layers that both have")
        elif theirs[name] != size:
            problems.append(
                f"{key}: the maps of {name!r} must be of one size, the teacher's are {theirs[name]}, the network's {size}; name others"
            )
    if problems:
        raise UserError(problems)


def _sizes(network: nn.Module, names: Sequence[str], input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            sizes[name] = tuple(output.shape[2:])

        return keep

    handles = [network.get_submodule(name).register_forward_hook(note(name)) for name in names]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *input_shape))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return sizes
