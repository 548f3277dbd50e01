"""A small residual network for small grey images, such as the 8x8 handwritten digits: seconds to train on a CPU."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pqsearch.rooms import Doc, Range
from trainers.models._blocks import ResidualNet


def build(
    classes: int,
    in_channels: int,
    *,
    width: Annotated[int, Doc("Channels of the first stage."), Range(2, 256)] = 16,
    blocks: Annotated[int, Doc("Residual blocks a stage."), Range(1, 8)] = 2,
) -> nn.Module:
    """Three stages of basic blocks with 1x1 shortcuts: 16 layers in 10 groups of channels with two blocks a stage."""
    return ResidualNet(classes, in_channels, width, blocks, "B")
