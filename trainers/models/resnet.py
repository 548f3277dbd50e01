"""ResNets for ImageNet and their variants (He et al., CVPR 2016, table 1): torchvision's, with other stems and strides.

State dicts of torchvision's `resnet18` to `resnet152` load as they are, but for the stem where it is another one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from pqsearch.rooms import Doc

BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
}


def build(
    classes: int,
    in_channels: int,
    *,
    depth: Literal[18, 34, 50, 101, 152] = 50,
    stem: Literal["cifar", "imagenet"] = "imagenet",
    stride_in: Annotated[
        Literal["3x3", "1x1"],
        Doc(
            'Which convolution of a bottleneck halves the size: "1x1" is the paper\'s and Caffe\'s, "3x3" torchvision\'s.'
        ),
    ] = "3x3",
    first_shortcut: Annotated[
        bool, Doc("A 1x1 convolution on the first shortcut of the first stage too, as Caffe's ResNet-18 has it.")
    ] = False,
) -> nn.Module:
    """ResNet-`depth`. ResNet50-caffe is `stride_in = "1x1"`, ResNet18-caffe `depth = 18`, `first_shortcut = true`."""
    block, numbers = BLOCKS[depth]
    model = ResNet(block, numbers, num_classes=classes)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif in_channels != 3:
        model.conv1 = nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    if stride_in == "1x1":
        for part in model.modules():
            if isinstance(part, Bottleneck):
                part.conv1.stride, part.conv2.stride = part.conv2.stride, (1, 1)
    first = model.layer1[0]
    if first_shortcut and first.downsample is None:
        first.downsample = nn.Sequential(nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64))
        nn.init.kaiming_normal_(first.downsample[0].weight, mode="fan_out", nonlinearity="relu")
    return model
