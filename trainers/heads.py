"""One head of a network that has several: which of its outputs counts, and without the layers that only others need."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pqsearch import rooms
from pqsearch.errors import UserError

#: What keeps the shape of what it gets, so that nothing in its place does, too.
SHAPELESS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm, nn.PReLU,
)  # fmt: skip
#: Two outputs are the same up to rounding.
TOLERANCE = 1e-5
#: What is added to the weights of a trial, at random: among trained ones, or at the start, some may be zero.
NOISE = 0.05


@dataclass(frozen=True)
class Chosen:
    """A forward hook that puts one output in the place of all. A tensor is let through: some networks return the others
    only while they train.
    """

    output: str | int

    def __call__(self, module: nn.Module, inputs: Any, result: Any) -> Any:
        # A proxy stands for a tensor where a graph is traced.
        return result if isinstance(result, (Tensor, fx.Proxy)) else picked(result, self.output)


def picked(result: Any, output: str | int) -> Any:
    """The entry of a mapping, a sequence or an object. Raises `KeyError` where there is none of that name or index."""
    if isinstance(output, int):
        if isinstance(result, (tuple, list)) and output < len(result):
            return result[output]
    elif isinstance(result, Mapping):
        return result[output]
    elif output in _names(result):
        return getattr(result, output)
    raise KeyError(output)


def with_output(model: nn.Module, output: str | int | None, input_shape: tuple[int, ...], key: str) -> nn.Module:
    """The model, returning the output of that name or index alone, without the layers that only the others need.

    The names of its layers stay. Raises `UserError` about `key`.output where it has no such output.
    """
    if output is None:
        return model
    found = [_outputs(model, input_shape, training) for training in (False, True)]
    several = [one for one in found if one is not None and not isinstance(one, Tensor)]
    if not several and found[0] is not None:
        raise UserError(f"{key}.output: the model returns one tensor, got {output!r}; leave it out")
    for one in several:
        try:
            picked(one, output)
        except KeyError:
            names = _names(one)
            nearest = rooms.nearest(output, names) if isinstance(output, str) else ""
            raise UserError(f"{key}.output: {returned(one)}, got {output!r}{nearest}") from None
    model.register_forward_hook(Chosen(output))
    # Where it cannot be run, tracing says why.
    return _alone(model, input_shape) if found[0] is not None else model


def check_training(model: nn.Module, input_shape: tuple[int, ...], key: str) -> None:
    """Raises `UserError` where a model that is fine when it is scored returns several outputs while it trains."""
    found = _outputs(model, input_shape, training=True)
    if found is not None and not isinstance(found, Tensor):
        raise UserError(f"{key}: {returned(found)} while it trains; {key}.output names the one that counts")


def check_classes(model: nn.Module, classes: int, input_shape: tuple[int, ...], key: str) -> None:
    """Raises `UserError` where a model has no score for some of the classes; more than there are do no harm."""
    found = _outputs(model, input_shape, training=False)
    if isinstance(found, Tensor) and found.ndim == 2 and found.shape[1] < classes:
        raise UserError(
            f"{key}: must have a score for each of the data's {classes} classes, got {found.shape[1]}; a function that takes "
            "`classes` is told how many there are"
        )


def returned(result: Any) -> str:
    """What a model returns, in words, and what can be chosen of it."""
    choices = ", ".join(_names(result))
    if not choices and isinstance(result, (tuple, list)) and result:
        choices = f"0 to {len(result) - 1}"
    kind = type(result).__name__
    return f"the model returns several outputs ({kind}), {choices}" if choices else f"the model returns {kind}"


def _names(result: Any) -> list[str]:
    if isinstance(result, Mapping):
        return [str(name) for name in result]
    if is_dataclass(result) and not isinstance(result, type):
        return [one.name for one in fields(result)]
    return list(getattr(result, "_fields", ()))


def _outputs(model: nn.Module, input_shape: tuple[int, ...], training: bool) -> Any:
    """What a copy returns of two images; None where it fails on them, which is said elsewhere."""
    trial = copy.deepcopy(model).cpu().train(training)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return trial(torch.zeros(2, *input_shape))
    except Exception:
        return None


def _alone(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """Without layers that the output does not depend on. They go on taking what they took, whatever channels are left of it:
    pruning what several heads share is then a matter of the chosen one.
    """
    trial = copy.deepcopy(model).cpu().eval().requires_grad_(True)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trial.parameters():
            parameter.add_(NOISE * torch.randn(parameter.shape, generator=random))
    images = torch.randn(2, *input_shape, generator=random)
    before = trial(images)
    if not isinstance(before, Tensor) or not before.requires_grad:
        return model  # nothing to train by; tracing says so
    names, parameters = zip(*trial.named_parameters(), strict=True)
    gradients = torch.autograd.grad(before.sum(), parameters, allow_unused=True)
    reached = {name.rpartition(".")[0] for name, found in zip(names, gradients, strict=True) if found is not None}
    owners = {name.rpartition(".")[0] for name in names}
    stand_ins = {
        name: stand_in
        for name, module in trial.named_modules()
        if name in owners - reached and (stand_in := _stand_in(module)) is not None
    }
    for name, stand_in in stand_ins.items():
        trial.set_submodule(name, stand_in)
    with torch.no_grad():
        after = trial(images)
    # Gradients that end on the way (a part that is run without them) make a layer seem superfluous that is not.
    if torch.allclose(before.detach(), after, TOLERANCE, TOLERANCE):
        for name, stand_in in stand_ins.items():
            model.set_submodule(name, stand_in)
    return model


def _stand_in(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.Conv2d):
        return SilentConv(module)
    if isinstance(module, nn.Linear):
        return SilentLinear(module.out_features)
    return nn.Identity() if isinstance(module, SHAPELESS) else None


class SilentConv(nn.Module):
    """Zeros of the shape that a convolution gives, of any number of channels."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.channels, self.kernel, self.stride, self.dilation = (
            conv.out_channels, conv.kernel_size, conv.stride, conv.dilation,
        )  # fmt: skip
        self.padding = conv.padding

    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(*images.shape[:-3], self.channels, self._size(images, 0), self._size(images, 1))

    def _size(self, images: Tensor, axis: int) -> int:
        size = images.shape[axis - 2]
        if self.padding == "same":
            return size
        padding = 0 if isinstance(self.padding, str) else int(self.padding[axis])
        return (size + 2 * padding - self.dilation[axis] * (self.kernel[axis] - 1) - 1) // self.stride[axis] + 1


class SilentLinear(nn.Module):
    """Zeros of the shape that a linear layer gives, of any number of features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, values: Tensor) -> Tensor:
        return values.new_zeros(*values.shape[:-1], self.features)
