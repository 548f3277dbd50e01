"""Two small networks of cells found by progressive search (Liu et al., ECCV 2018), for 32-pixel images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.models._parts import conv_norm, initialise, pooled

#: Cells of a stage, and channels of the first one.
CELLS = 6
CHANNELS = {"A": 44, "B": 32}


class CellA(nn.Module):
    """A 7x7 separable convolution beside a pooling, added."""

    def __init__(self, in_channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.separable = _separable(in_channels, out, 7, stride)
        self.pooled = _pooled(in_channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.separable(x) + self.pooled(x))


class CellB(nn.Module):
    """7x7 and 3x3 separable convolutions added, a pooling and a 5x5 one added, and both brought together by a 1x1 convolution."""

    def __init__(self, in_channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.separable1 = _separable(in_channels, out, 7, stride)
        self.separable2 = _separable(in_channels, out, 3, stride)
        self.separable3 = _separable(in_channels, out, 5, stride)
        self.pooled = _pooled(in_channels, out, stride)
        self.join = conv_norm(2 * out, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = functional.relu(self.separable1(x) + self.separable2(x))
        other = functional.relu(self.pooled(x) + self.separable3(x))
        return self.join(torch.cat([one, other], 1))


def _separable(in_channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    return conv_norm(in_channels, out, kernel, stride, groups=in_channels, activation=nn.Identity())


def _pooled(in_channels: int, out: int, stride: int) -> nn.Module:
    pool = nn.MaxPool2d(3, stride, padding=1)
    return pool if stride == 1 else nn.Sequential(pool, conv_norm(in_channels, out, 1, activation=nn.Identity()))


class PnasNet(nn.Module):
    """A 3x3 stem, three stages of cells with a halving cell between them, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, cell: type[CellA | CellB], channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [conv_norm(in_channels, channels, 3)]
        for stage in range(3):
            if stage:
                parts.append(cell(channels, 2 * channels, 2))
                channels *= 2
            parts += [cell(channels, channels, 1) for _ in range(CELLS)]
        self.cells = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.cells(x)))


def build(classes: int, in_channels: int, *, cell: Literal["A", "B"] = "A") -> nn.Module:
    """PNASNet-A or -B, by the cell."""
    return initialise(PnasNet(classes, in_channels, CellA if cell == "A" else CellB, CHANNELS[cell]))
