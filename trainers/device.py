"""Where things run, and what of it a result depends on."""

from __future__ import annotations

import platform

import numpy as np
import torch

from pqsearch.errors import UserError

#: Elements of one batch of images that need no gradient. A CPU likes activations that its allocator keeps: at four times as
#: many it gives the memory back after every layer, and a third of the time goes into getting it anew.
EVALUATED_ELEMENTS = {"cpu": 2**18, "cuda": 2**21}
MOST_EVALUATED, FEWEST_EVALUATED = 512, 8
#: What a process takes of a GPU beside its tensors: the CUDA context and the libraries' kernels.
CONTEXT_BYTES = 500 * 2**20


def pick(gpus: float) -> torch.device:
    """The first visible GPU when a share of one is asked for, else the CPU. Raises `UserError` without a GPU."""
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"workers.gpus: torch sees no GPU on {platform.node()}, got {gpus:g}; set it to 0")
    return torch.device("cuda", 0)


def memory_fraction(gpus: float, total: int) -> float:
    """The part of a GPU with `total` bytes that the tensors of a worker may take whose share is `gpus`: all of it from one on,
    else the share less what each process takes by itself, so that as many workers as there are shares have room.
    """
    if gpus >= 1:
        return 1.0
    # On a GPU that is too small for so many processes something must be left all the same.
    return max(gpus - CONTEXT_BYTES / total, gpus / 2)


def limit_memory(device: torch.device, gpus: float) -> None:
    """From now on this process runs out of memory at its own share, not at that of another worker; on a CPU nothing changes."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(memory_fraction(gpus, total), device)


def release(device: torch.device) -> None:
    """Give back what torch keeps of a GPU's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def mixed_precision(device: torch.device) -> torch.dtype | None:
    """The short floats that `device` computes in faster than in float32: float16 on GPUs, bfloat16 on CPUs that have it.

    None on other CPUs, which would only emulate them.
    """
    if device.type == "cuda":
        return torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else None


def set_threads(cpus: float) -> None:
    """Threads of torch's operations: whole cores, at least one."""
    torch.set_num_threads(max(1, int(cpus)))


def fingerprint() -> dict[str, str | int]:
    """What a score depends on besides plan and seed: kind of device, threads, versions."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cpu_mixed": str(mixed_precision(torch.device("cpu"))),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),  # a class of torch's own: who receives it would have to load torch
        "numpy": np.__version__,
    }


def evaluation_batch(input_shape: tuple[int, ...], device: torch.device) -> int:
    """Images evaluated at once, so that small ones are fast and large ones fit in a worker's memory."""
    elements = int(np.prod(input_shape))
    return max(FEWEST_EVALUATED, min(MOST_EVALUATED, EVALUATED_ELEMENTS[device.type] // elements))
