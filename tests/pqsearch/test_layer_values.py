"""On how many images the layers of a winner are looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pqsearch.layer_values import most_images, observe
from pqsearch.prepare import prepare
from pqsearch.spec import load_spec
from tests.conftest import write_spec
from trainers.baseline import initial_model
from trainers.data import split


def test_large_images_are_fewer_and_small_ones_as_many_as_are_asked_for() -> None:
    assert most_images(256, (1, 8, 8)) == most_images(256, (3, 32, 32)) == 256
    assert most_images(256, (3, 224, 224)) == 32
    assert most_images(4, (3, 224, 224)) == 4


def test_no_more_images_than_that_go_through_the_network(tmp_path: Path) -> None:
    small = prepare(load_spec(write_spec(tmp_path)))
    images = small.dataset.train_images.repeat(28, axis=2).repeat(28, axis=3)
    large = replace(small.dataset, train_images=images)
    prepared = replace(small, dataset=large, splits=split(large, small.spec.data))
    model, seen = initial_model(small.spec, large), []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(len(inputs[0]))

    model.register_forward_pre_hook(note)
    with torch.no_grad():
        observe(prepared, model, 100)
    assert seen == [32]
