"""ResNeXt-29 for 32-pixel images (Xie et al., CVPR 2017, section 4.2); torchvision has those for ImageNet."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional

from pqsearch.rooms import Doc, Range
from trainers.models._parts import conv_norm, initialise, pooled, strides

#: Of each stage.
BLOCKS = (3, 3, 3)
#: Channels that the first stage writes.
OUT = 256


class Block(nn.Module):
    """A bottleneck whose 3x3 convolution is in groups."""

    def __init__(self, in_channels: int, width: int, out: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(in_channels, width, 1)
        self.conv2 = conv_norm(width, width, 3, stride, groups=groups)
        self.conv3 = conv_norm(width, out, 1, activation=nn.Identity())
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or in_channels != out:
            self.shortcut = conv_norm(in_channels, out, 1, stride, activation=nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))


class ResNeXt(nn.Module):
    """A 3x3 stem, three stages of three blocks, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, groups: int, width: int) -> None:
        super().__init__()
        self.stem = conv_norm(in_channels, 64, 3)
        parts: list[nn.Module] = []
        channels = 64
        for stage, stride in strides(BLOCKS):
            parts.append(Block(channels, groups * width * 2**stage, OUT * 2**stage, groups, stride))
            channels = OUT * 2**stage
        self.blocks = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.blocks(self.stem(x))))


def build(
    classes: int,
    in_channels: int,
    *,
    groups: Annotated[
        int, Doc("Groups of each 3x3 convolution: the cardinality, 8 or 16 in the paper."), Range(1, 64)
    ] = 8,
    width: Annotated[int, Doc("Channels of a group in the first stage."), Range(1, 128)] = 64,
) -> nn.Module:
    """ResNeXt-29, `groups` x `width` d."""
    return initialise(ResNeXt(classes, in_channels, groups, width))
