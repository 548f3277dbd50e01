"""MobileNet (Howard et al., 2017, table 1): depthwise separable convolutions."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.models._parts import Stem, conv_norm, initialise, scaled

#: Channels written and stride of each depthwise separable convolution.
LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5), (1024, 2), (1024, 1))


class MobileNet(nn.Module):
    """A 3x3 stem, thirteen pairs of a depthwise 3x3 and a 1x1 convolution, and a linear classifier."""

    def __init__(self, classes: int, in_channels: int, width: float, stem: Stem) -> None:
        super().__init__()
        channels = scaled(32, width)
        parts: list[nn.Module] = [conv_norm(in_channels, channels, 3, 2 if stem == "imagenet" else 1)]
        for out, stride in LAYERS:
            parts.append(conv_norm(channels, channels, 3, stride, groups=channels))
            parts.append(conv_norm(channels, scaled(out, width), 1))
            channels = scaled(out, width)
        self.features = nn.Sequential(*parts)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(x).mean((2, 3)))


def build(
    classes: int,
    in_channels: int,
    *,
    width: Annotated[float, Doc("Channels, as a share of the paper's."), Range(0.125, 4)] = 1.0,
    stem: Literal["cifar", "imagenet"] = "imagenet",
) -> nn.Module:
    """MobileNetV1; its stem keeps the size for 32-pixel images."""
    return initialise(MobileNet(classes, in_channels, width, stem))
