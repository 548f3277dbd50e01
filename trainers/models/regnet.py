"""RegNets (Radosavovic et al., CVPR 2020): torchvision's, also for 32-pixel images; Y has squeeze-and-excitation."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torchvision.models import get_model

from trainers.models._parts import unstride


def build(
    classes: int,
    in_channels: int,
    *,
    kind: Literal["x", "y"] = "y",
    size: Literal["400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf"] = "400mf",
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> nn.Module:
    """RegNet`kind`-`size`; for 32-pixel images its stem and first stage keep the size."""
    model = get_model(f"regnet_{kind}_{size}", weights=None, num_classes=classes)
    first = model.stem[0]
    model.stem[0] = nn.Conv2d(in_channels, first.out_channels, 3, 2, padding=1, bias=False)
    nn.init.kaiming_normal_(model.stem[0].weight, mode="fan_out", nonlinearity="relu")
    if stem == "cifar":
        unstride(model.stem, next(iter(model.trunk_output.children())))
    return model
