from __future__ import annotations

from typing import get_args

import pytest
import torch

from pqsearch.spec_network import DataSpec
from tests.trainers.small import CPU, small_data, small_spec
from trainers.augment import ERASED, MOST_ERASED, augment_images, augment_pixels
from trainers.data import Loader
from trainers.seeds import torch_generator

KINDS = get_args(get_args(DataSpec.model_fields["augment"].annotation)[0])
POLICIES = [kind for kind in KINDS if "augment" in kind]


def _pixels(count: int = 32, channels: int = 3) -> torch.Tensor:
    generator = torch_generator(1)
    return torch.randint(0, 256, (count, channels, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_changes_some_pixels_by_its_seed_alone(policy: str, channels: int) -> None:
    pixels = _pixels(channels=channels)
    torch.manual_seed(1)
    first = augment_pixels(pixels, (policy,), seed=7)
    torch.manual_seed(2)
    assert torch.equal(first, augment_pixels(pixels, (policy,), seed=7))
    assert not torch.equal(first, augment_pixels(pixels, (policy,), seed=8))
    assert first.shape == pixels.shape and first.dtype is torch.uint8
    changed = (first != pixels).flatten(1).any(1).float().mean()
    assert float(changed) > 0.3


def test_without_a_policy_pixels_are_left_as_they_are() -> None:
    pixels = _pixels()
    assert augment_pixels(pixels, ("crop", "flip", "erase"), seed=0) is pixels


def test_erasing_sets_one_rectangle_of_a_quarter_of_the_images_to_the_mean() -> None:
    images = torch.ones(2000, 3, 16, 12)
    erased = augment_images(images, ("erase",), torch_generator(3)) == 0
    assert torch.equal(erased[:, 0], erased[:, 1]) and torch.equal(erased[:, 0], erased[:, 2])
    shares = erased[:, 0].flatten(1).float().mean(1)
    assert float((shares > 0).float().mean()) == pytest.approx(ERASED, abs=0.05)
    # Sides are rounded to whole pixels.
    assert 0.25 < float(shares.max()) < MOST_ERASED + 0.07
    for mask in erased[shares > 0, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None, :])
        assert int(rows.diff().sum()) <= 2 and int(columns.diff().sum()) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_whole_batches_that_the_seed_decides(kind: str) -> None:
    spec = small_spec()
    dataset, splits = small_data(spec)
    loader = Loader(dataset, splits.train, CPU)

    def batches(*seed: str | int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(loader.epoch(32, (kind,), *seed))

    first, again, other = batches("a", 1), batches("a", 1), batches("a", 2)
    assert all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))
    plain = list(loader.epoch(32, (), "a", 1))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, plain, strict=True))
    assert any(not torch.equal(a, b) for (a, _), (b, _) in zip(first, plain, strict=True))
