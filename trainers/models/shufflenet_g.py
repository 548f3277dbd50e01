"""ShuffleNet with grouped 1x1 convolutions (Zhang et al., CVPR 2018, table 1), for 32-pixel images.

Channels are shuffled between the groups, so they cannot be followed: the network is quantised, not pruned.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.models._parts import conv_norm, initialise, pooled

STEM = 24
#: Channels of the first stage, by groups; each next one has twice as many.
CHANNELS = {2: 200, 3: 240}
BLOCKS = (4, 8, 4)


class Unit(nn.Module):
    """1x1 in groups, shuffle, depthwise 3x3, 1x1 in groups; where it halves the size, beside the pooled input."""

    def __init__(self, in_channels: int, out: int, stride: int, groups: int) -> None:
        super().__init__()
        width = out // 4
        self.halves = stride == 2
        writes = out - in_channels if self.halves else out
        # The stem's few channels are not worth groups.
        self.groups = 1 if in_channels == STEM else groups
        self.conv1 = conv_norm(in_channels, width, 1, groups=self.groups)
        self.conv2 = conv_norm(width, width, 3, stride, groups=width, activation=nn.Identity())
        self.conv3 = conv_norm(width, writes, 1, groups=groups, activation=nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        y = _shuffle(self.conv1(x), self.groups)
        y = self.conv3(self.conv2(y))
        if self.halves:
            return functional.relu(torch.cat([y, functional.avg_pool2d(x, 3, 2, padding=1)], 1))
        return functional.relu(y + x)


def _shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return x.reshape(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


class ShuffleNet(nn.Module):
    """A 1x1 stem, three stages, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, groups: int) -> None:
        super().__init__()
        self.stem = conv_norm(in_channels, STEM, 1)
        parts: list[nn.Module] = []
        channels = STEM
        for stage, number in enumerate(BLOCKS):
            for unit in range(number):
                out = CHANNELS[groups] * 2**stage
                parts.append(Unit(channels, out, 1 if unit else 2, groups))
                channels = out
        self.units = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.units(self.stem(x))))


def build(classes: int, in_channels: int, *, groups: Literal[2, 3] = 2) -> nn.Module:
    """ShuffleNetG2 or G3; torchvision has the second version of the network."""
    return initialise(ShuffleNet(classes, in_channels, groups))
