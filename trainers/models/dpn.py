"""Dual path networks (Chen et al., NIPS 2017): each block adds to some channels and appends others. For 32-pixel images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.models._parts import conv_norm, initialise, pooled

GROUPS = 32
#: Of each stage: channels of the bottleneck, channels added to, channels that each block appends.
STAGES = ((96, 256, 16), (192, 512, 32), (384, 1024, 24), (768, 2048, 128))
BLOCKS = {26: (2, 2, 2, 2), 92: (3, 4, 20, 3)}


class DualPath(nn.Module):
    """A bottleneck in groups: its first `added` channels are added to what came in, the others appended."""

    def __init__(self, in_channels: int, width: int, added: int, appended: int, stride: int, first: bool) -> None:
        super().__init__()
        self.added = added
        self.conv1 = conv_norm(in_channels, width, 1)
        self.conv2 = conv_norm(width, width, 3, stride, groups=GROUPS)
        self.conv3 = conv_norm(width, added + appended, 1, activation=nn.Identity())
        self.shortcut: nn.Module = nn.Sequential()
        if first:
            self.shortcut = conv_norm(in_channels, added + appended, 1, stride, activation=nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        x, y = self.shortcut(x), self.conv3(self.conv2(self.conv1(x)))
        kept, former = torch.split(x, [self.added, x.shape[1] - self.added], 1)
        change, new = torch.split(y, [self.added, y.shape[1] - self.added], 1)
        return functional.relu(torch.cat([kept + change, former, new], 1))


class Dpn(nn.Module):
    """A 3x3 stem, four stages of dual path blocks, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, depth: int) -> None:
        super().__init__()
        self.stem = conv_norm(in_channels, 64, 3)
        parts: list[nn.Module] = []
        channels = 64
        for stage, ((width, added, appended), number) in enumerate(zip(STAGES, BLOCKS[depth], strict=True)):
            for block in range(number):
                stride = 2 if stage and not block else 1
                parts.append(DualPath(channels, width, added, appended, stride, not block))
                channels = added + (block + 2) * appended
        self.blocks = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.blocks(self.stem(x))))


def build(classes: int, in_channels: int, *, depth: Literal[26, 92] = 26) -> nn.Module:
    """DPN-`depth`."""
    return initialise(Dpn(classes, in_channels, depth))
