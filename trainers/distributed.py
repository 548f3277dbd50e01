"""What several processes that train one network have to agree on: who takes which images of a batch, and what comes of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from trainers.seeds import derive, seeded

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """One of `size` processes. Alone, everything here gives back what it is given.

    All of them call the same methods in the same order: one that does not keeps the others waiting.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> World:
        """The process group that this process is in."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and tells how far it is."""
        return self.rank == 0

    def share(self, count: int, before: bool = False) -> NDArray[np.int64]:
        """Positions (images,) of this process's part in a batch of `count` images, `before` them the one ahead of the first.

        Parts differ by one image at most; together they are the batch in its order.
        """
        positions = np.array_split(np.arange(count), self.size)[self.rank]
        return np.concatenate([(positions[:1] - 1) % count, positions]) if before else positions

    def weight(self, images: int, batch: int) -> float:
        """What the mean over `images` of a batch counts, so that the mean over all processes is that over the batch."""
        return images * self.size / batch

    def synchronised(self, model: nn.Module) -> nn.Module:
        """The model with batch norm over the images of all processes, which torch has on GPUs only."""
        return model if self.size == 1 else nn.SyncBatchNorm.convert_sync_batchnorm(model)

    def wrapped(self, model: nn.Module, device: torch.device) -> nn.Module:
        """What is called in training: gradients are then means over all processes. They begin with the first one's weights."""
        if self.size == 1:
            return model
        return DistributedDataParallel(
            model,
            device_ids=[device.index] if device.type == "cuda" else None,
            # Statistics are brought together once an epoch (`unite_norms`); the first process's alone would be worth less.
            forward_sync_buffers=False,
            # A network may hold parameters that its forward does not use.
            find_unused_parameters=True,
        )

    @contextmanager
    def own_draws(self, seed: int, step: int) -> Iterator[None]:
        """Inside, layers that draw numbers draw others in every process; what all draw alike is left where it was."""
        if self.size == 1:
            yield
        else:
            with seeded(derive(seed, step, self.rank)):
                yield

    def mean(self, value: Tensor) -> Tensor:
        """Of a tensor that each process has, the mean over all."""
        if self.size == 1:
            return value
        summed = value.detach().clone()
        dist.all_reduce(summed)
        return summed / self.size

    def unite_norms(self, *models: nn.Module) -> None:
        """Running statistics of batch norm become their means over all processes."""
        if self.size == 1:
            return
        norms = [part for model in models for part in model.modules() if isinstance(part, _BatchNorm)]
        found = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var) if tensor is not None]
        if not found:
            return
        # One message instead of two a layer.
        united = self.mean(torch.cat([tensor.flatten() for tensor in found]))
        for tensor, part in zip(found, united.split([tensor.numel() for tensor in found]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def gathered(self, own: list[T]) -> list[T]:
        """What all processes have, in the order of their ranks."""
        if self.size == 1:
            return own
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, own)
        return [one for part in found for one in part]

    def agreed(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, the only one that calls it."""
        if self.size == 1:
            return make()
        found: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(found, src=0)
        return found[0]


#: A process that trains by itself.
ALONE = World()
