"""ResNets with squeeze-and-excitation (Hu et al., CVPR 2018): each block weighs its channels by what the image shows."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional

from pqsearch.rooms import Doc, Range
from trainers.models._parts import Stem, conv_norm, initialise, pooled, strides

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class Excitation(nn.Module):
    """Means of the channels, two linear layers as 1x1 convolutions, and a weight between 0 and 1 for each."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(1, channels // reduction), 1)
        self.excite = nn.Conv2d(max(1, channels // reduction), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))
        return x * self.excite(weights).sigmoid()


class Block(nn.Module):
    """The basic residual block, weighed before the addition."""

    def __init__(self, in_channels: int, channels: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(in_channels, channels, 3, stride)
        self.conv2 = conv_norm(channels, channels, 3, activation=nn.Identity())
        self.weigh = Excitation(channels, reduction)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = conv_norm(in_channels, channels, 1, stride, activation=nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.weigh(self.conv2(self.conv1(x))) + self.shortcut(x))


class SeNet(nn.Module):
    """ResNet's stem and four stages, of blocks that weigh their channels, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, depth: int, reduction: int, stem: Stem) -> None:
        super().__init__()
        self.stem = conv_norm(in_channels, 64, 3)
        if stem == "imagenet":
            self.stem = nn.Sequential(conv_norm(in_channels, 64, 7, 2), nn.MaxPool2d(3, 2, padding=1))
        parts: list[nn.Module] = []
        channels = 64
        for stage, stride in strides(BLOCKS[depth]):
            parts.append(Block(channels, 64 * 2**stage, stride, reduction))
            channels = 64 * 2**stage
        self.blocks = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.blocks(self.stem(x))))


def build(
    classes: int,
    in_channels: int,
    *,
    depth: Literal[18, 34] = 18,
    reduction: Annotated[
        int, Doc("How many channels share one of the narrow layer; r in the paper."), Range(1, 64)
    ] = 16,
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> nn.Module:
    """SE-ResNet-`depth`."""
    return initialise(SeNet(classes, in_channels, depth, reduction, stem))
