"""The network that a fine-tune learns from, where that is another one than the float baseline."""

from __future__ import annotations

from torch import nn

from pqsearch.spec_network import TeacherSpec
from trainers.build import network
from trainers.datasets._types import Dataset
from trainers.heads import check_classes

SECTION = "finetune.teacher"


def teacher_of(asked: TeacherSpec, dataset: Dataset) -> nn.Module:
    """The network of `[finetune.teacher]` with its weights, in eval mode, for the classes and images of `dataset`.

    Raises `UserError` where it cannot be built, its weights are of another one, or it has no score for some class.
    """
    assert asked.weights is not None  # the spec says so
    classes = len(dataset.classes)
    model = network(asked, classes, dataset.input_shape, SECTION).eval().requires_grad_(False)
    check_classes(model, classes, dataset.input_shape, SECTION)
    return model
