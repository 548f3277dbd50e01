"""MobileNetV2 (Sandler et al., CVPR 2018, table 2): torchvision's, also for 32-pixel images."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2

from pqsearch.rooms import Doc, Range

#: Expansion, channels, number and stride of the inverted residuals of each stage.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def build(
    classes: int,
    in_channels: int,
    *,
    width: Annotated[float, Doc("Channels, as a share of the paper's."), Range(0.125, 4)] = 1.0,
    stem: Literal["cifar", "imagenet"] = "imagenet",
) -> nn.Module:
    """MobileNetV2; for 32-pixel images stem and second stage keep the size, and the last features are of 4x4."""
    stages = [list(stage) for stage in STAGES]
    if stem == "cifar":
        stages[1][3] = 1
    model = MobileNetV2(classes, width_mult=width, inverted_residual_setting=stages)
    first = model.features[0][0]
    stride = 1 if stem == "cifar" else 2
    model.features[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(model.features[0][0].weight, mode="fan_out")
    return model
