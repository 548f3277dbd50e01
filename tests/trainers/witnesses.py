"""Others who count what a network computes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import thop
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def torch_flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Of one image by torch's own counter: two for each multiply-accumulate, no biases, whole kernels at padded edges too."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        copy.deepcopy(model).eval()(torch.zeros(1, *shape))
    return counter.get_total_flops()


def thop_macs(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Of one image by thop, convolutions and linear layers alone: it counts norms and pooling too, we do not. It does not see into
    quantisers.
    """
    seen = copy.deepcopy(model).eval()  # it leaves buffers and hooks
    leaves = [part for part in seen.modules() if not list(part.children())]
    others: dict[type[nn.Module], Callable[..., None]] = {
        type(part): _ignored for part in leaves if not isinstance(part, (nn.Conv2d, nn.Linear))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macs, _ = thop.profile(seen, inputs=(torch.zeros(1, *shape),), custom_ops=others, verbose=False)
    return macs


def _ignored(module: nn.Module, inputs: Any, output: Any) -> None:
    """Counts as nothing."""
