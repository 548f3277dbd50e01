from __future__ import annotations

import pytest
import torch

from trainers.mixing import mixer
from trainers.seeds import seeded

IMAGES = torch.stack([torch.full((1, 6, 6), float(label)) for label in range(4)])
LABELS = torch.arange(4)


def test_mixup_adds_images_in_the_shares_of_their_labels() -> None:
    mix = mixer(1.0, 0.0, 4)
    assert mix is not None
    with seeded(3):
        images, shares = mix(IMAGES, LABELS)
    torch.testing.assert_close(images[:, 0, 0, 0], shares @ LABELS.float())
    assert int((shares[0] > 0).sum()) == 2 and torch.allclose(shares.sum(1), torch.ones(4))


def test_cutmix_pastes_a_rectangle_and_shares_labels_by_its_area() -> None:
    mix = mixer(0.0, 1.0, 4)
    assert mix is not None
    with seeded(5):
        images, shares = mix(IMAGES, LABELS)
    for image, share in zip(images, shares, strict=True):
        for label in range(4):
            assert float((image == label).float().mean()) == pytest.approx(float(share[label]), abs=1e-5)
    assert images.unique().numel() == 4 and bool((shares.max(1).values < 1).any())


def test_with_both_every_batch_gets_one_of_them_and_the_seed_says_which() -> None:
    mix = mixer(0.5, 0.5, 4)
    assert mix is not None

    def pasted(seed: int) -> bool:
        with seeded(seed):
            images, _ = mix(IMAGES, LABELS)
        return set(images.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}

    kinds = [pasted(seed) for seed in range(20)]
    assert {True, False} == set(kinds)
    assert kinds == [pasted(seed) for seed in range(20)]


def test_without_either_there_is_nothing_to_do() -> None:
    assert mixer(0.0, 0.0, 4) is None
