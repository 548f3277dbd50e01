"""Tensors to files, atomically; from files only as plain tensors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into; readers see the old one or the whole new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save(value: Any, path: Path) -> None:
    """`torch.save`, atomically."""
    with atomic(path) as file:
        torch.save(value, file)


def load(path: Path) -> Any:
    """What `save` wrote, on the CPU; never runs code from the file."""
    return torch.load(path, map_location="cpu", weights_only=True)
