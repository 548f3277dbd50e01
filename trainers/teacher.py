"""The network that a fine-tune learns from, where that is another one than the float baseline."""

from __future__ import annotations

from torch import nn

from pqsearch.spec import TeacherSpec
from trainers.build import build_model, load_weights
from trainers.datasets._types import Dataset

SECTION = "finetune.teacher"


def teacher_of(asked: TeacherSpec, dataset: Dataset) -> nn.Module:
    """The network of `[finetune.teacher]` with its weights, in eval mode, for the classes and images of `dataset`.

    Raises `UserError` where it cannot be built, or its weights are of another one.
    """
    shape = dataset.input_shape
    model = build_model(asked.name, asked.options, len(dataset.classes), shape, asked.folder, SECTION)
    assert asked.weights is not None  # the spec says so
    load_weights(model, asked.weights, SECTION)
    return model.eval().requires_grad_(False)
