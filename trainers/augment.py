"""Images changed at random while training. What shifts, mirrors and erases is done for a batch at once; policies, image by image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from trainers.seeds import derive, seeded

#: How many images of a batch a rectangle is erased from, and which part of an image it may cover at most.
ERASED, MOST_ERASED = 0.25, 1 / 3


@dataclass(frozen=True)
class Part:
    """Which images of a batch of `count` are there, by their positions (images,) in it: what is drawn is the whole batch's, so that
    an image is augmented alike whoever holds it.
    """

    count: int
    positions: NDArray[np.int64]

    @classmethod
    def whole(cls, count: int) -> Part:
        return cls(count, np.arange(count))

    def uniform(self, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
        """Draws from [0, 1), (images, *shape)."""
        return torch.rand(self.count, *shape, generator=random)[self.positions]

    def whole_numbers(self, limit: int, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
        """Draws below `limit`, (images, *shape)."""
        return torch.randint(limit, (self.count, *shape), generator=random)[self.positions]


def augment_pixels(pixels: Tensor, augment: tuple[str, ...], seed: int, part: Part | None = None) -> Tensor:
    """What is done to pixels (batch, channels, height, width) uint8 as they are: torchvision's policies, each image by a seed of its
    own.
    """
    policies = [_POLICIES[name]() for name in augment if name in _POLICIES]
    if not policies:
        return pixels
    positions = (part or Part.whole(len(pixels))).positions.tolist()
    with seeded(seed):
        changed = []
        for position, image in zip(positions, pixels, strict=True):
            torch.default_generator.manual_seed(derive(seed, position))
            for policy in policies:
                image = policy(image)
            changed.append(image)
    return torch.stack(changed)


def augment_images(
    images: Tensor, augment: tuple[str, ...], random: torch.Generator, part: Part | None = None
) -> Tensor:
    """Shifts by up to an eighth of the side ("crop"), mirror images ("flip"), rectangles set to the mean ("erase"), each drawn per
    image, of normalised images (batch, channels, height, width); channels last.
    """
    part = part or Part.whole(len(images))
    if "crop" in augment:
        images = _shifted(images, random, part)
    if "flip" in augment:
        mirrored = (part.uniform((), random) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if "erase" in augment:
        images = _erased(images, random, part)
    return images.contiguous(memory_format=torch.channels_last)


def _shifted(images: Tensor, random: torch.Generator, part: Part) -> Tensor:
    count, _, height, width = images.shape
    pad = max(1, height // 8)
    padded = functional.pad(images, (pad, pad, pad, pad))
    rows = part.whole_numbers(2 * pad + 1, (1,), random) + torch.arange(height)
    columns = part.whole_numbers(2 * pad + 1, (1,), random) + torch.arange(width)
    rows, columns = rows.to(images.device), columns.to(images.device)
    # Channels last makes the gather one copy of whole pixels.
    pixels = padded.permute(0, 2, 3, 1)
    picked = pixels[torch.arange(count, device=images.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _erased(images: Tensor, random: torch.Generator, part: Part) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020), which with a square would be cutout (DeVries and Taylor, 2017)."""
    height, width = images.shape[2:]
    draws = part.uniform((5,), random)
    # Sides in proportion to the image's, so that their product is the share that is covered.
    share, tilt = MOST_ERASED * draws[:, 0], torch.exp(2.4 * (draws[:, 1] - 0.5))
    high = (height * (share * tilt).sqrt()).clamp(max=height).round()
    wide = (width * (share / tilt).sqrt()).clamp(max=width).round()
    top = (draws[:, 2] * (height - high + 1)).floor()
    left = (draws[:, 3] * (width - wide + 1)).floor()
    rows, columns = torch.arange(height), torch.arange(width)
    inside = (rows >= top[:, None]) & (rows < (top + high)[:, None])
    across = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    gone = inside[:, :, None] & across[:, None, :] & (draws[:, 4] < ERASED)[:, None, None]
    return images.masked_fill(gone[:, None].to(images.device), 0.0)


_POLICIES: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "auto_augment": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "auto_augment_imagenet": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
    "rand_augment": v2.RandAugment,
    "trivial_augment": v2.TrivialAugmentWide,
}
