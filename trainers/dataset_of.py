"""From a dataset's name to its images: our files, torchvision's sets, the user's own function."""

from __future__ import annotations

from pqsearch import rooms
from pqsearch.spec_network import TORCHVISION, DataSpec
from trainers.datasets import _own, _torchvision
from trainers.datasets._types import Dataset


def dataset_of(spec: DataSpec) -> Dataset:
    """The images that `[data]` names. Raises `UserError`."""
    if spec.name.startswith(TORCHVISION):
        return _torchvision.load(spec.name.removeprefix(TORCHVISION), spec.root, spec.cache, **spec.options)
    if ":" in spec.name:
        return _own.load_users(spec.name, spec.folder, spec.root, spec.cache, spec.options)
    found: Dataset = rooms.load("datasets", spec.name)(spec.root, spec.cache, **spec.options)
    return found
