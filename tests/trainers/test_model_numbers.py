"""Parameters and multiply-accumulates of the networks against those that are published, counted without computing anything.

Published numbers are rounded to what the papers print; where a paper prints none, the count is torchvision's for its own network.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainers.build import build_model

#: Name, options, classes, pixels, parameters and MACs in millions (None where nobody says), digits that they are given with.
PUBLISHED: list[tuple[str, dict[str, Any], int, int, tuple[float, int] | None, tuple[float, int] | None]] = [
    # He et al., CVPR 2016, table 6
    ("cifar_resnet", {"depth": 20}, 10, 32, (0.27, 2), None),
    ("cifar_resnet", {"depth": 32}, 10, 32, (0.46, 2), None),
    ("cifar_resnet", {"depth": 44}, 10, 32, (0.66, 2), None),
    ("cifar_resnet", {"depth": 56}, 10, 32, (0.85, 2), None),
    ("cifar_resnet", {"depth": 110}, 10, 32, (1.7, 1), None),
    ("cifar_resnet", {"depth": 1202}, 10, 32, (19.4, 1), None),
    # torchvision's table of models; its strides are in the 3x3 convolutions. Table 1 of the paper, for strides in the 1x1 ones
    ("resnet", {"depth": 18}, 1000, 224, (11.689512, 6), (1814, 0)),
    ("resnet", {"depth": 34}, 1000, 224, (21.797672, 6), (3664, 0)),
    ("resnet", {"depth": 50}, 1000, 224, (25.557032, 6), (4089, 0)),
    ("resnet", {"depth": 101}, 1000, 224, (44.549160, 6), (7801, 0)),
    ("resnet", {"depth": 152}, 1000, 224, (60.192808, 6), (11514, 0)),
    ("resnet", {"depth": 50, "stride_in": "1x1"}, 1000, 224, (25.557032, 6), (3858, 0)),
    # ResNet-18 with one 1x1 convolution from 64 to 64 channels and its batch norm more
    ("resnet", {"depth": 18, "first_shortcut": True}, 1000, 224, (11.693736, 6), None),
    # Simonyan and Zisserman, table 2; batch norm has as many shifts as they have biases, and as many factors
    ("vgg", {"depth": 11, "stem": "imagenet"}, 1000, 224, (133, 0), None),
    ("vgg", {"depth": 13, "stem": "imagenet"}, 1000, 224, (133, 0), None),
    ("vgg", {"depth": 16, "stem": "imagenet"}, 1000, 224, (138, 0), (15470, 0)),
    ("vgg", {"depth": 19, "stem": "imagenet"}, 1000, 224, (144, 0), (19632, 0)),
    # Howard et al., 2017, table 8
    ("mobilenet_v1", {}, 1000, 224, (4.2, 1), (569, 0)),
    ("mobilenet_v1", {"width": 0.5}, 1000, 224, (1.3, 1), (149, 0)),
    # Sandler et al., table 4; torchvision's own count
    ("mobilenet_v2", {}, 1000, 224, (3.504872, 6), (300, -1)),
    # Howard et al., ICCV 2019, tables 3 and 4
    ("mobilenet_v3", {"size": "large"}, 1000, 224, (5.4, 0), (219, -1)),
    ("mobilenet_v3", {"size": "small"}, 1000, 224, (2.5, 1), (56, 0)),
    # Redmon and Farhadi, YOLO9000, section 3.2: 5.58 billion operations, two a MAC
    ("darknet", {"version": "19"}, 1000, 224, None, (2790, -1)),
    # Redmon and Farhadi, YOLOv3, table 2: 18.7 billion operations at 256 pixels
    ("darknet", {"version": "53"}, 1000, 256, None, (9300, -2)),
    # Huang et al., table 2
    ("densenet", {"depth": 40}, 10, 32, (1.0, 1), None),
    ("densenet", {"depth": 100}, 10, 32, (7.0, 1), None),
    ("densenet", {"depth": 100, "bottleneck": True}, 10, 32, (0.8, 1), None),
    # Hu et al., table 2: ResNet-18 with 0.09 million more and hardly a MAC
    ("senet", {"stem": "imagenet"}, 1000, 224, (11.78, 2), (1810, -1)),
    # Xie et al., table 7
    ("resnext", {"groups": 8, "width": 64}, 10, 32, (34.4, 1), None),
    ("resnext", {"groups": 16, "width": 64}, 10, 32, (68.1, 0), None),
    # LeCun et al., 1998, section II.B, but that every map of the third layer reads all six, and images have three channels
    ("lenet", {}, 10, 32, (0.062006, 6), None),
    # Radosavovic et al., table of the 400MF models
    ("regnet", {"kind": "y", "stem": "imagenet"}, 1000, 224, (4.3, 1), (400, -1)),
    ("regnet", {"kind": "x", "stem": "imagenet"}, 1000, 224, (5.5, 1), (410, -1)),
]


def _count(name: str, options: dict[str, Any], classes: int, pixels: int) -> tuple[float, float]:
    """Parameters and MACs of convolutions and linear layers, in millions."""
    macs = 0

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        weight = module.weight
        assert isinstance(weight, Tensor)
        macs += output[0].numel() * weight[0].numel()

    model = _shapes(name, options, classes, pixels)
    with torch.device("meta"), torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_forward_hook(note)
        model(torch.zeros(1, 3, pixels, pixels))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6, macs / 1e6


def _shapes(name: str, options: dict[str, Any], classes: int = 1000, pixels: int = 224) -> nn.Module:
    """A network without numbers in it. torchvision reads numbers while it makes a RegNet."""
    with torch.device("cpu" if "regnet" in name else "meta"):
        return build_model(name, options, classes, (3, pixels, pixels)).eval().to("meta")


@pytest.mark.parametrize(("name", "options", "classes", "pixels", "params", "macs"), PUBLISHED)
def test_a_network_has_the_published_size(
    name: str,
    options: dict[str, Any],
    classes: int,
    pixels: int,
    params: tuple[float, int] | None,
    macs: tuple[float, int] | None,
) -> None:
    found = _count(name, options, classes, pixels)
    for counted, published in zip(found, (params, macs), strict=True):
        if published is not None:
            number, digits = published
            assert round(counted, digits) == pytest.approx(number, abs=1.01 * 10.0**-digits if digits < 6 else 1e-9), (
                counted
            )


def test_strides_in_the_first_convolution_of_a_bottleneck_spare_its_3x3_one() -> None:
    model = build_model("resnet", {"stride_in": "1x1"}, 10, (3, 64, 64))
    block = model.get_submodule("layer2.0")
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert model.get_submodule("layer1.0").conv1.stride == (1, 1)


def test_weights_of_torchvision_fit_resnet_and_mobilenet() -> None:
    for name, options, theirs in (
        ("resnet", {"depth": 50}, "resnet50"),
        ("mobilenet_v2", {}, "mobilenet_v2"),
        ("mobilenet_v3", {"size": "small"}, "mobilenet_v3_small"),
        ("regnet", {"stem": "imagenet"}, "regnet_y_400mf"),
    ):
        ours, other = _shapes(name, options).state_dict(), _shapes(f"torchvision:{theirs}", {}).state_dict()
        assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in other.items()}
