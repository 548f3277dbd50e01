"""Small parts that several families share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

#: "imagenet" is the published network for images of about 224 pixels; "cifar" keeps the resolution of 32-pixel ones longer.
Stem = Literal["cifar", "imagenet"]


def conv_norm(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, batch norm, and an activation (a new ReLU unless given)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True) if activation is None else activation,
    )


def initialise(model: nn.Module) -> nn.Module:
    """Convolutions by the rule for rectifiers (He et al., ICCV 2015), in place; everything else as torch does."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def unstride(*modules: nn.Module) -> None:
    """Let modules and all in them keep the size of what they read, in place."""
    for module in modules:
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
                part.stride = (1, 1)


def scaled(channels: int, width: float) -> int:
    """A share of the published number of channels, at least 8."""
    return max(8, int(channels * width))


def strides(stages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stage and stride of block after block of stages with so many: each stage but the first begins by halving the size."""
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            yield stage, 2 if stage and not block else 1


def pooled(features: Tensor) -> Tensor:
    """The mean of each channel over the image: features (batch, channels, height, width) to (batch, channels)."""
    return functional.adaptive_avg_pool2d(features, 1).flatten(1)
