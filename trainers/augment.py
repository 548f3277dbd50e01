"""Images changed at random while training. What shifts, mirrors and erases is done for a batch at once; policies, image by image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from trainers.seeds import seeded

#: How many images of a batch a rectangle is erased from, and which part of an image it may cover at most.
ERASED, MOST_ERASED = 0.25, 1 / 3


def augment_pixels(pixels: Tensor, augment: tuple[str, ...], seed: int) -> Tensor:
    """What is done to pixels (batch, channels, height, width) uint8 as they are: torchvision's policies, one draw an image."""
    policies = [_POLICIES[name]() for name in augment if name in _POLICIES]
    if not policies:
        return pixels
    with seeded(seed):
        changed = []
        for image in pixels:
            for policy in policies:
                image = policy(image)
            changed.append(image)
    return torch.stack(changed)


def augment_images(images: Tensor, augment: tuple[str, ...], random: torch.Generator) -> Tensor:
    """Shifts by up to an eighth of the side ("crop"), mirror images ("flip"), rectangles set to the mean ("erase"), each drawn per
    image, of normalised images (batch, channels, height, width); channels last.
    """
    if "crop" in augment:
        images = _shifted(images, random)
    if "flip" in augment:
        mirrored = (torch.rand(len(images), generator=random) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if "erase" in augment:
        images = _erased(images, random)
    return images.contiguous(memory_format=torch.channels_last)


def _shifted(images: Tensor, random: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    pad = max(1, height // 8)
    padded = functional.pad(images, (pad, pad, pad, pad))
    rows = torch.randint(2 * pad + 1, (count, 1), generator=random) + torch.arange(height)
    columns = torch.randint(2 * pad + 1, (count, 1), generator=random) + torch.arange(width)
    rows, columns = rows.to(images.device), columns.to(images.device)
    # Channels last makes the gather one copy of whole pixels.
    pixels = padded.permute(0, 2, 3, 1)
    picked = pixels[torch.arange(count, device=images.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _erased(images: Tensor, random: torch.Generator) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020), which with a square would be cutout (DeVries and Taylor, 2017)."""
    count, _, height, width = images.shape
    draws = torch.rand(count, 5, generator=random)
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
