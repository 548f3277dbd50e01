"""What is wrong with a training that is shared by several processes, in lines for the user."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

#: Fewer have no variance, of which batch norm makes use.
FEWEST_IMAGES = 2


def process_problems(key: str, section: Mapping[str, Any], gpus: Any, batch_size: int) -> Iterator[str]:
    """Of `[baseline]` or `[finetune]` as it is written, with `[workers] gpus` and the batch size that holds unless one is given.

    What is of a wrong type is said elsewhere.
    """
    processes, batch = section.get("workers", 1), section.get("batch_size", batch_size)
    if not _whole(processes) or processes < 2:
        return
    if _whole(batch) and batch >= 2 and (batch % processes or batch < FEWEST_IMAGES * processes):
        yield (
            f"{key}.batch_size: is shared by {key}.workers, which is {processes}: must be a multiple of it and at least "
            f"{FEWEST_IMAGES} images each, got {batch}; {_way_out(batch, processes)}"
        )
    if not isinstance(gpus, (int, float)) or isinstance(gpus, bool) or not math.isfinite(gpus) or gpus < 0:
        return
    if gpus != int(gpus):
        yield (
            f"workers.gpus: processes that train together need a GPU of their own each, {key}.workers is {processes}, got "
            f"{gpus:g}; give whole GPUs, or set {key}.workers to 1"
        )
    if section.get("sync_batch_norm") is True and not gpus:
        yield (
            f"{key}.sync_batch_norm: torch has it on GPUs only, workers.gpus is 0, got true; set it to false"
            + (", or finetune.freeze_batch_norm to true" if key == "finetune" else "")
        )


def _way_out(batch: int, processes: int) -> str:
    below, least = batch // processes * processes, FEWEST_IMAGES * processes
    if below < least:
        return f"set it to {least}"
    return f"set it to {below} or {below + processes}"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
