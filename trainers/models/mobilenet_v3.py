"""MobileNetV3 (Howard et al., ICCV 2019, tables 1 and 2): torchvision's, also for 32-pixel images."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn
from torchvision.models.mobilenetv3 import MobileNetV3, _mobilenet_v3_conf

from pqsearch.rooms import Doc, Range
from trainers.models._parts import unstride


def build(
    classes: int,
    in_channels: int,
    *,
    size: Literal["small", "large"] = "large",
    width: Annotated[float, Doc("Channels, as a share of the paper's."), Range(0.125, 4)] = 1.0,
    stem: Literal["cifar", "imagenet"] = "imagenet",
) -> nn.Module:
    """MobileNetV3, `size` "small" or "large"; for 32-pixel images the stem and the first block that would halve keep the size."""
    setting, last = _mobilenet_v3_conf(f"mobilenet_v3_{size}", width_mult=width)
    model = MobileNetV3(setting, last, num_classes=classes)
    first = model.features[0][0]
    model.features[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, 2, padding=1, bias=False)
    nn.init.kaiming_normal_(model.features[0][0].weight, mode="fan_out")
    if stem == "cifar":
        halving = next(number for number, block in enumerate(setting, start=1) if block.stride > 1)
        unstride(model.features[0], model.features[halving])
    return model
