"""ResNets made for one bit (Liu et al., Bi-Real Net, ECCV 2018, section 3.2): a shortcut past every single convolution.

The signs are a plan's business: one bit for weights and inputs. What passes a convolution by stays real.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional

from pqsearch.rooms import Doc, Range
from trainers.models._parts import initialise, pooled, strides


class BiRealUnit(nn.Module):
    """One 3x3 convolution and batch norm, what came in added, cut to [-1, 1]; halved, what came in is pooled and widened."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2), nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.hardtanh(self.norm(self.conv(x)) + self.shortcut(x))


class BiRealNet(nn.Module):
    """A 3x3 stem, three stages that double the channels, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, width: int, units: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.Hardtanh()
        )
        parts: list[nn.Module] = []
        channels = width
        for stage, stride in strides((units,) * 3):
            parts.append(BiRealUnit(channels, width * 2**stage, stride))
            channels = width * 2**stage
        self.units = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.units(self.stem(x))))


def build(
    classes: int,
    in_channels: int,
    *,
    depth: Literal[20, 32, 44, 56, 110] = 20,
    width: Annotated[int, Doc("Channels of the first stage."), Range(2, 1024)] = 16,
) -> nn.Module:
    """The counterpart of the ResNet of `depth` = 6 n + 2 layers for 32-pixel images."""
    return initialise(BiRealNet(classes, in_channels, width, (depth - 2) // 3))
