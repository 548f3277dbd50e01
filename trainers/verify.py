"""Does cutting channels do what it should? Tried on the real network, since a traced graph can be wrong."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainers.coupling import NORMS, Traced
from trainers.prune import kept_masks, picked, remove_channels

#: Relative difference that rounding leaves between a cut network and its silenced original.
TOLERANCE = {torch.double: 1e-6, torch.float: 1e-3}


def cut_problem(model: nn.Module, traced: Traced, groups: list[int]) -> str | None:
    """What goes wrong, in words, when one unit of each of `groups` is cut; None if nothing does.

    The smaller network must compute what the original one does when the same channels carry zeros. Activations with
    f(0) other than 0 between two layers fail this test, and their groups stay whole.
    """
    try:
        return _compare(model, traced, groups, torch.double)
    except RuntimeError:  # a forward pass that insists on single precision
        return _compare(model, traced, groups, torch.float)


def _compare(model: nn.Module, traced: Traced, groups: list[int], precision: torch.dtype) -> str | None:
    original = copy.deepcopy(model).to(precision).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *traced.info.input_shape, generator=generator, dtype=precision)
    _shake(original, generator)
    keep = {}
    for index in groups:
        group = traced.info.groups[index]
        blocks = torch.arange(group.channels).reshape(group.unit, -1)
        keep[group.name] = blocks[:, :-1].flatten()
    smaller = remove_channels(original, traced, keep)
    modules, masks = dict(original.named_modules()), kept_masks(traced, keep)
    for name, owners in traced.outputs.items():
        stays = picked(owners, masks)
        if stays is not None:
            _silence(modules[name], ~stays)
    with torch.no_grad():
        expected = original(images)
        try:
            found = smaller(images)
        except Exception as error:
            return f"the network breaks without some of its channels ({str(error).strip().splitlines()[0]})"
    if found.shape != expected.shape:
        return "its channels are the model's outputs"
    tolerance = TOLERANCE[precision]
    if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max() + 1)):
        return "an operation between its layers mixes or moves channels"
    return None


def _shake(model: nn.Module, generator: torch.Generator) -> None:
    """Fresh networks start with zero biases and unit norms, which would hide a wrong index."""
    for module in model.modules():
        if isinstance(module, NORMS):
            for tensor in (module.weight, module.bias, module.running_mean):
                if tensor is not None:
                    tensor.data += 0.1 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)


def _silence(module: nn.Module, channels: Tensor) -> None:
    """Zero the parameters of output channels, so that they carry nothing (through any activation with f(0) = 0)."""
    for name in ("weight", "bias"):
        parameter = getattr(module, name, None)
        if parameter is not None:
            parameter.data[channels] = 0
    if isinstance(module, NORMS) and not module.affine and module.running_mean is not None:
        module.running_mean.data[channels] = 0
