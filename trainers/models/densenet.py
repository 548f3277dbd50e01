"""DenseNets for 32-pixel images (Huang et al., CVPR 2017, section 3 and table 2), plain and with bottlenecks and compression."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.rooms import Doc, Range
from trainers.models._parts import initialise, pooled

BLOCKS = 3


class DenseLayer(nn.Module):
    """Adds `growth` channels to what it reads: batch norm, ReLU, convolution; with a 1x1 bottleneck before it on demand."""

    def __init__(self, in_channels: int, growth: int, bottleneck: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.squeeze = nn.Sequential()
        if bottleneck:
            middle = 4 * growth
            self.squeeze = nn.Sequential(
                nn.Conv2d(in_channels, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()
            )
            in_channels = middle
        self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.squeeze(functional.relu(self.norm(x))))], 1)


class DenseNet(nn.Module):
    """Three dense blocks with a 1x1 convolution and a pooling between them."""

    def __init__(self, classes: int, in_channels: int, layers: int, growth: int, bottleneck: bool) -> None:
        super().__init__()
        channels = 2 * growth if bottleneck else 16
        parts: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)]
        for block in range(BLOCKS):
            for _ in range(layers):
                parts.append(DenseLayer(channels, growth, bottleneck))
                channels += growth
            parts += [nn.BatchNorm2d(channels), nn.ReLU()]
            if block < BLOCKS - 1:
                fewer = channels // 2 if bottleneck else channels
                parts += [nn.Conv2d(channels, fewer, 1, bias=False), nn.AvgPool2d(2)]
                channels = fewer
        self.features = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.features(x)))


def build(
    classes: int,
    in_channels: int,
    *,
    depth: Annotated[int, Doc("Layers, 3 n + 4 of them; with bottlenecks 6 n + 4."), Range(7, 250)] = 40,
    growth: Annotated[int, Doc("Channels that each layer adds; k in the paper."), Range(1, 64)] = 12,
    bottleneck: Annotated[bool, Doc("DenseNet-BC: bottlenecks, and half the channels between blocks.")] = False,
) -> nn.Module:
    """DenseNet-`depth`: 40 and 100 in the paper. Refuses a depth that three equal blocks cannot have."""
    each = 2 * BLOCKS if bottleneck else BLOCKS
    if (depth - 4) % each:
        nearest = (depth - 4) // each * each + 4
        raise ValueError(f"depth must be {each} n + 4, got {depth}; take {nearest} or {nearest + each}")
    return initialise(DenseNet(classes, in_channels, (depth - 4) // each, growth, bottleneck))
