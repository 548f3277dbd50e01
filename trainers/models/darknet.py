"""Darknet-19 (Redmon and Farhadi, YOLO9000, CVPR 2017, table 6), Darknet-53 (YOLOv3, 2018, table 1) and Tiny Darknet."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.models._parts import Stem, conv_norm, initialise, pooled, scaled, unstride

SLOPE = 0.1
#: Channels of convolutions, 3x3 and behind those 1x1 (negative) ones; "M" halves the size.
PLAIN: dict[str, tuple[int | str, ...]] = {
    "19": (
        32, "M", 64, "M", 128, -64, 128, "M", 256, -128, 256, "M",
        512, -256, 512, -256, 512, "M", 1024, -512, 1024, -512, 1024,
    ),
    "tiny": (16, "M", 32, "M", -16, 128, -16, 128, "M", -32, 256, -32, 256, "M", -64, 512, -64, 512, -128),
}  # fmt: skip
#: Residual blocks of the five stages of Darknet-53.
BLOCKS = (1, 2, 8, 8, 4)


class Darknet(nn.Module):
    """Convolutions one after another, and a 1x1 convolution to the classes whose mean over the image counts."""

    def __init__(self, classes: int, in_channels: int, layers: tuple[int | str, ...], width: float, stem: Stem) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for layer in layers:
            if isinstance(layer, str):
                parts.append(nn.MaxPool2d(2))
            else:
                channels = scaled(abs(layer), width)
                parts.append(_conv(in_channels, channels, 3 if layer > 0 else 1))
                in_channels = channels
        if stem == "cifar":
            # Darknet halves five times: 32 pixels bear three.
            pools = [number for number, part in enumerate(parts) if isinstance(part, nn.MaxPool2d)]
            parts = [part for number, part in enumerate(parts) if number not in pools[:2]]
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Conv2d(in_channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return pooled(self.classifier(self.features(x)))


class Residual(nn.Module):
    """A 1x1 convolution to half the channels, a 3x3 one back, and what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels // 2, 1)
        self.conv2 = _conv(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class Darknet53(nn.Module):
    """A stem, five stages that begin by halving the size, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, width: float, stem: Stem) -> None:
        super().__init__()
        channels = scaled(32, width)
        self.stem = _conv(in_channels, channels, 3)
        self.stages = nn.Sequential()
        for stage, blocks in enumerate(BLOCKS):
            before, channels = channels, scaled(64 * 2**stage, width)
            halving = _conv(before, channels, 3, 2)
            if stem == "cifar" and stage < 2:
                unstride(halving)
            self.stages.append(nn.Sequential(halving, *(Residual(channels) for _ in range(blocks))))
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(pooled(self.stages(self.stem(x))))


def _conv(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return conv_norm(in_channels, channels, kernel, stride, activation=nn.LeakyReLU(SLOPE, inplace=True))


def build(
    classes: int,
    in_channels: int,
    *,
    version: Literal["19", "53", "tiny"] = "19",
    width: Annotated[float, Doc("Channels, as a share of the published network's."), Range(0.125, 4)] = 1.0,
    stem: Literal["cifar", "imagenet"] = "imagenet",
) -> nn.Module:
    """Darknet `version`; for 32-pixel images without the first two of its five halvings."""
    if version == "53":
        return initialise(Darknet53(classes, in_channels, width, stem))
    return initialise(Darknet(classes, in_channels, PLAIN[version], width, stem))
