"""Whether a network has an integer form, before anything is trained: its forward pass with zeros for every layer's sums."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainers.coupling import LAYERS
from trainers.fixed_point.convert import merged, round_constants
from trainers.fixed_point.values import Fixed, Image, NoIntegerForm, given
from trainers.merging import replace

#: For networks that have no integer form.
WAY_OUT = "take merge_batch_norm = false: all but the integers is done then"


class _Zeros(nn.Module):
    """Stands where a layer was; gives zeros of the shape that the layer would, and remembers that it came by."""

    def __init__(self, name: str, layer: nn.Module, seen: list[str]) -> None:
        super().__init__()
        self._name, self._layer, self._seen = name, layer, seen

    def forward(self, x: Tensor) -> Tensor:
        given(x, self._name)
        self._seen.append(self._name)
        with torch._C.DisableTorchFunctionSubclass():
            shape = self._layer(torch.zeros(x.shape)).shape
            return Fixed.of(torch.zeros(shape, dtype=torch.long), 0)


def integer_problem(model: nn.Module, input_shape: tuple[int, ...]) -> str | None:
    """Why a float network of images of `input_shape` (channels, height, width) cannot be one of integers, in words; None if it can.

    How wide sums get is up to the weights, and not known yet.
    """
    try:
        network = merged(copy.deepcopy(model).cpu().float(), input_shape, equalized=False)
    except NoIntegerForm as error:
        return str(error)
    round_constants(network)
    seen: list[str] = []
    for name, part in list(network.named_modules()):
        if isinstance(part, LAYERS):
            replace(network, part, _Zeros(name, part, seen))
    try:
        with torch.no_grad():
            network.eval()(Image.of(torch.zeros(1, *input_shape)))
    except NoIntegerForm as error:
        return f"{error} (behind the layer {seen[-1]})" if seen else str(error)
    except AttributeError as error:
        # As attention does: the weights of a layer are read, the layer itself is not asked.
        problem = f"the forward pass reads `{error.name}` of a layer or of its sums, which integers do not have"
        return f"{problem} (behind the layer {seen[-1]})" if seen else problem
    return None
