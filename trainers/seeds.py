"""Randomness as a function of what it is for: the same parts give the same numbers in any process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

BITS = 63


def derive(*parts: str | int) -> int:
    """A seed of 63 bits from texts and whole numbers: the head of the SHA-256 of their JSON list."""
    text = json.dumps(parts, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - BITS)


def torch_generator(seed: int) -> torch.Generator:
    """On the CPU: numbers drawn there and moved are the same for every device."""
    return torch.Generator().manual_seed(seed)


def numpy_generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators seeded inside, as found outside: for initialisers and dropout, which take none."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
