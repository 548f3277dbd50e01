"""ResNets for 32-pixel images (He et al., Deep Residual Learning, CVPR 2016, section 4.2): 20 to 1,202 layers.

State dicts of the widespread implementation with `conv1 bn1 layer1..3 linear` load as they are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from pqsearch.rooms import Doc, Range
from trainers.models._blocks import ResidualNet


def build(
    classes: int,
    in_channels: int,
    *,
    depth: Literal[20, 32, 44, 56, 110, 1202] = 20,
    shortcut: Literal["A", "B"] = "A",
    width: Annotated[int, Doc("Channels of the first stage; the paper's is 16."), Range(2, 1024)] = 16,
) -> nn.Module:
    """The network of `depth` = 6 n + 2 layers.

    Shortcut "A" pads with zeros, so residual streams cannot be pruned; "B" is a 1x1 convolution.
    """
    return ResidualNet(classes, in_channels, width, (depth - 2) // 6, shortcut)
