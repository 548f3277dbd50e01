"""Where things run, and what of it a result depends on."""

from __future__ import annotations

import platform

import numpy as np
import torch

from pqsearch.errors import UserError

#: Elements of one batch of images that need no gradient: 341 images of 32x32 in colour, 6 of 224x224.
EVALUATED_ELEMENTS = 2**20
MOST_EVALUATED, FEWEST_EVALUATED = 512, 8


def pick(gpus: float) -> torch.device:
    """The first visible GPU when a share of one is asked for, else the CPU. Raises `UserError` without a GPU."""
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"workers.gpus: torch sees no GPU on {platform.node()}, got {gpus:g}; set it to 0")
    return torch.device("cuda", 0)


def set_threads(cpus: float) -> None:
    """Threads of torch's operations: whole cores, at least one."""
    torch.set_num_threads(max(1, int(cpus)))


def fingerprint() -> dict[str, str | int]:
    """What a score depends on besides plan and seed: kind of device, threads, versions."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def evaluation_batch(input_shape: tuple[int, ...]) -> int:
    """Images evaluated at once, so that small ones are fast and large ones fit in a worker's memory."""
    elements = int(np.prod(input_shape))
    return max(FEWEST_EVALUATED, min(MOST_EVALUATED, EVALUATED_ELEMENTS // elements))
