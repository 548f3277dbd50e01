"""How processes of one machine that train together find each other: by a file, and over loopback. Nothing listens to the network.

Ray Train's own way, which processes on several machines take, listens on all addresses of a machine.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
import torch.distributed as dist
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

#: How long one may wait for the others.
PATIENCE = timedelta(minutes=30)


@dataclass
class OneMachine(TorchConfig):
    """Ray Train's settings of a process group that meets in `folder`, on NCCL where processes have GPUs and else on gloo."""

    folder: str = ""
    gpus: bool = False

    @property
    def backend_cls(self) -> type[Backend]:
        """What Ray Train makes the group with."""
        return _File


class _File(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: OneMachine) -> None:
        """Once for every set of processes: each finds a file that no other set has written to."""
        size, meeting = len(worker_group), f"{backend_config.folder}/meeting-{uuid.uuid4().hex}"
        kind = "nccl" if backend_config.gpus else "gloo"
        ray.get(
            [worker_group.execute_single_async(rank, _join, kind, meeting, rank, size) for rank in range(size)],
        )


def _join(kind: str, meeting: str, rank: int, size: int) -> None:
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", loopback())
    store = dist.FileStore(meeting, size)
    dist.init_process_group(kind, store=store, rank=rank, world_size=size, timeout=PATIENCE)


def loopback() -> str:
    """What this system calls the interface that leads nowhere else."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
