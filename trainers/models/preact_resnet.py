"""ResNets with batch norm and ReLU before each convolution (He et al., Identity Mappings, ECCV 2016), for 32-pixel images."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from trainers.models._parts import initialise, pooled, strides

#: Kernels of a block's convolutions, how many times its channels it writes, and blocks of the four stages.
NETS: dict[int, tuple[tuple[int, ...], int, tuple[int, ...]]] = {
    18: ((3, 3), 1, (2, 2, 2, 2)),
    34: ((3, 3), 1, (3, 4, 6, 3)),
    50: ((1, 3, 1), 4, (3, 4, 6, 3)),
    101: ((1, 3, 1), 4, (3, 4, 23, 3)),
    152: ((1, 3, 1), 4, (3, 8, 36, 3)),
}


class PreActBlock(nn.Module):
    """Norm, ReLU and convolution, two or three times; where the shape changes, a 1x1 shortcut behind the first ReLU."""

    def __init__(self, in_channels: int, channels: int, expansion: int, kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        out = channels * expansion
        reads = (in_channels, *(channels,) * (len(kernels) - 1))
        writes = (*(channels,) * (len(kernels) - 1), out)
        # The first 3x3 convolution halves the size.
        halves = kernels.index(3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(number) for number in reads)
        self.convs = nn.ModuleList(
            nn.Conv2d(one, other, kernel, stride if place == halves else 1, padding=kernel // 2, bias=False)
            for place, (one, other, kernel) in enumerate(zip(reads, writes, kernels, strict=True))
        )
        self.shortcut = (
            nn.Conv2d(in_channels, out, 1, stride, bias=False) if stride != 1 or in_channels != out else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norms[0](x))
        kept = x if self.shortcut is None else self.shortcut(y)
        y = self.convs[0](y)
        for norm, conv in zip(self.norms[1:], self.convs[1:], strict=True):
            y = conv(functional.relu(norm(y)))
        return y + kept


class PreActResNet(nn.Module):
    """A 3x3 stem, four stages that double the channels, a last norm and ReLU, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, depth: int) -> None:
        super().__init__()
        kernels, expansion, stages = NETS[depth]
        self.stem = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        parts: list[nn.Module] = []
        channels = 64
        for stage, stride in strides(stages):
            parts.append(PreActBlock(channels, 64 * 2**stage, expansion, kernels, stride))
            channels = 64 * 2**stage * expansion
        self.blocks = nn.Sequential(*parts)
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.blocks(self.stem(x))))
        return self.linear(pooled(x))


def build(classes: int, in_channels: int, *, depth: Literal[18, 34, 50, 101, 152] = 18) -> nn.Module:
    """PreActResNet-`depth`, up to 34 of basic blocks, then of bottlenecks."""
    return initialise(PreActResNet(classes, in_channels, depth))
