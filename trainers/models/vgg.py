"""VGG networks with batch norm (Simonyan and Zisserman, ICLR 2015, table 1): configurations A, B, D and E."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.models._parts import Stem, conv_norm, initialise, scaled

#: Convolutions of each of the five stages.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)
#: Of the classifier for ImageNet: hidden units, and the side that the last features are brought to.
HIDDEN, SIDE = 4096, 7


class Vgg(nn.Module):
    """3x3 convolutions in five stages, each ended by a pooling, and a classifier."""

    def __init__(self, classes: int, in_channels: int, stages: tuple[int, ...], width: float, stem: Stem) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for number, published in zip(stages, CHANNELS, strict=True):
            channels = scaled(published, width)
            for _ in range(number):
                parts.append(conv_norm(in_channels, channels, 3))
                in_channels = channels
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        side = 1 if stem == "cifar" else SIDE
        self.pool = nn.AdaptiveAvgPool2d(side)
        inputs = in_channels * side * side
        hidden = [
            nn.Linear(inputs, HIDDEN),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Dropout(),
        ]
        self.classifier = (
            nn.Sequential(nn.Linear(inputs, classes))
            if stem == "cifar"
            else nn.Sequential(*hidden, nn.Linear(HIDDEN, classes))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


def build(
    classes: int,
    in_channels: int,
    *,
    depth: Literal[11, 13, 16, 19] = 16,
    width: Annotated[float, Doc("Channels of the convolutions, as a share of the paper's."), Range(0.125, 4)] = 1.0,
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> nn.Module:
    """VGG-`depth`; for 32-pixel images with one linear layer, for ImageNet with the paper's three."""
    return initialise(Vgg(classes, in_channels, STAGES[depth], width, stem))
