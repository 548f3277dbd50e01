"""Images of a batch mixed with each other, and their labels with them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torchvision.transforms import v2

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mixer(mixup: float, cutmix: float, classes: int) -> Mix | None:
    """Mixes images (batch, channels, height, width) and labels (batch,) into shares (batch, classes); None where neither is asked.

    mixup adds pairs of images (Zhang et al., ICLR 2018), cutmix pastes a rectangle of one into another (Yun et al., ICCV 2019), each
    in a proportion drawn from Beta(a, a). Where both are asked for, every batch gets one of them. Draws from torch's global state.
    """
    kinds: list[Mix] = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup, num_classes=classes))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix, num_classes=classes))
    if not kinds:
        return None
    chosen: Mix = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)
    return chosen
