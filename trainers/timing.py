"""How long single layers take on this machine, in float32, at channels that are left of them."""

from __future__ import annotations

import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.coupling import LAYERS, is_depthwise

#: Runs before the first one that counts: memory is found, kernels are chosen.
WARM_UP = 3


def layer_inputs(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, list[tuple[int, ...]]]:
    """For every conv and linear layer that the forward pass uses the shapes it reads of one image, one for each use."""
    model = copy.deepcopy(model).cpu().eval()
    found: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):

            def note(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                found[name].append(tuple(inputs[0].shape[1:]))

            module.register_forward_pre_hook(note)
    with torch.no_grad():
        model(torch.zeros(1, *input_shape))
    return dict(found)


def milliseconds(
    layer: nn.Module,
    channels: tuple[int, int],
    shapes: list[tuple[int, ...]],
    batch_size: int,
    repeats: int,
    device: torch.device,
) -> float:
    """The median time of one image in a layer like `layer` alone, at `channels` read and written, all its uses together.

    `shapes` are those of its inputs, as of `layer_inputs`; their channels are replaced.
    """
    resized = _resized(layer, *channels).to(device).eval()
    inputs = [torch.randn(batch_size, *_with_channels(shape, layer, channels[0]), device=device) for shape in shapes]
    seconds = []
    with torch.inference_mode():
        for _ in range(WARM_UP + repeats):
            _finish(device)
            began = time.perf_counter()
            for images in inputs:
                resized(images)
            _finish(device)
            seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds[WARM_UP:]) / batch_size


def device_words(device: torch.device, hardware: Mapping[str, str | int]) -> str:
    """The name of what computes."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU {hardware['processor']}"


def _resized(layer: nn.Module, reads: int, writes: int) -> nn.Module:
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(reads, writes, bias)
    assert isinstance(layer, nn.Conv2d)
    return nn.Conv2d(
        reads,
        writes,
        layer.kernel_size,  # type: ignore[arg-type]  # two numbers, as of a built layer
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        reads if is_depthwise(layer) else layer.groups,
        bias,
        layer.padding_mode,
    )


def _with_channels(shape: tuple[int, ...], layer: nn.Module, channels: int) -> tuple[int, ...]:
    return (channels, *shape[1:]) if isinstance(layer, nn.Conv2d) else (*shape[:-1], channels)


def _finish(device: torch.device) -> None:
    """A GPU works on while the program does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
