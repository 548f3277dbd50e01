"""GoogLeNet (Szegedy et al., CVPR 2015, table 1) with batch norm, for 32-pixel images.

The branch of 5x5 convolutions is two 3x3 ones (Szegedy et al., CVPR 2016, section 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.models._parts import conv_norm, initialise, pooled

#: Of each module: 1x1; before and in the 3x3 branch; before and in the 5x5 branch; behind the pooling. "M" halves the size.
MODULES: tuple[tuple[int, int, int, int, int, int] | str, ...] = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    "M",
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    "M",
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
STEM = 192


class Inception(nn.Module):
    """Four branches side by side, their channels one behind the other."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, before_three, three, before_five, five, pooled = channels
        self.branch1 = conv_norm(in_channels, one, 1)
        self.branch2 = nn.Sequential(conv_norm(in_channels, before_three, 1), conv_norm(before_three, three, 3))
        self.branch3 = nn.Sequential(
            conv_norm(in_channels, before_five, 1), conv_norm(before_five, five, 3), conv_norm(five, five, 3)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv_norm(in_channels, pooled, 1))
        self.channels = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """A 3x3 stem, nine inception modules and a linear classifier."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [conv_norm(in_channels, STEM, 3)]
        channels = STEM
        for module in MODULES:
            if isinstance(module, str):
                parts.append(nn.MaxPool2d(3, 2, padding=1))
            else:
                inception = Inception(channels, module)
                parts.append(inception)
                channels = inception.channels
        self.features = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.features(x)))


def build(classes: int, in_channels: int) -> nn.Module:
    """GoogLeNet without the extra heads of its training; for ImageNet there is `torchvision:googlenet`."""
    return initialise(GoogLeNet(classes, in_channels))
